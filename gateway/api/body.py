"""Reading a request's body: within the caller's cap and in time, and not a byte of it before the caller is known."""

import asyncio
import io

from starlette.requests import ClientDisconnect, Request

from gateway.api.room import Hold
from gateway.errors import BodyTimeout, BodyTooLarge

MIB = 1 << 20
DEFAULT_CAP_MIB = 224
"""Eight references of 20 MB, in Base64, and the rest of the request."""

SECONDS = 15.0
SECONDS_A_MIB = 1.0
"""For each MiB that has come in: one that is only announced holds its room no longer than a small one."""


async def read_body(request: Request, cap_mib: float = DEFAULT_CAP_MIB, hold: Hold | None = None) -> bytes:
    """Return the body, which takes room from `hold`.

    Raises BodyTooLarge as soon as it is known to be, BodyTimeout, Unavailable for want of room, and ClientDisconnect if
    the caller hung up.
    """
    cap = int(cap_mib * MIB)
    declared = request.headers.get("content-length")
    if declared is not None and int(declared) > cap:
        raise _too_large(cap_mib)
    if declared is not None and hold is not None:
        await hold.grow(int(declared))
    if request.scope.get("state", {}).get("whole", False):  # it is all here: there is nothing to set a deadline for
        return await _receive(request, cap, cap_mib, hold)
    try:
        async with asyncio.timeout(SECONDS) as deadline:
            return await _receive(request, cap, cap_mib, hold, deadline)
    except TimeoutError:
        raise BodyTimeout from None


async def _receive(
    request: Request, cap: int, cap_mib: float, hold: Hold | None, deadline: asyncio.Timeout | None = None
) -> bytes:
    """Put the pieces together; each moves the deadline, so that a large body earns its time by coming in."""
    body = io.BytesIO()  # gives its buffer away without a copy; joining pieces would hold the body twice
    begun = asyncio.get_running_loop().time()
    while True:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        body.write(message.get("body", b""))
        size = body.tell()
        if size > cap:
            raise _too_large(cap_mib)
        if hold is not None:
            await hold.grow(size)
        if not message.get("more_body", False):
            return body.getvalue()
        if deadline is not None:
            deadline.reschedule(begun + SECONDS + SECONDS_A_MIB * size / MIB)


def _too_large(cap_mib: float) -> BodyTooLarge:
    return BodyTooLarge(f"Request body is too large. Maximum size: {cap_mib}MB")
