"""Reading a request's body: within the caller's cap and in time, and not a byte of it before the caller is known."""

import asyncio

from starlette.requests import ClientDisconnect, Request

from gateway.api.room import Hold
from gateway.errors import BodyTimeout, BodyTooLarge

MIB = 1 << 20
DEFAULT_CAP_MIB = 224
"""Eight references of 20 MB, in Base64, and the rest of the request."""

SECONDS = 15.0
SECONDS_A_MIB = 1.0


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
    if request.scope.get("state", {}).get("whole", False):
        return await _receive(request, cap, cap_mib, hold)  # it is all here: there is nothing to set a deadline for
    patience = SECONDS + SECONDS_A_MIB * (cap_mib if declared is None else int(declared) / MIB)
    try:
        async with asyncio.timeout(patience):
            return await _receive(request, cap, cap_mib, hold)
    except TimeoutError:
        raise BodyTimeout from None


async def _receive(request: Request, cap: int, cap_mib: float, hold: Hold | None) -> bytes:
    pieces: list[bytes] = []
    size = 0
    while True:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        piece = message.get("body", b"")
        size += len(piece)
        if size > cap:
            raise _too_large(cap_mib)
        if hold is not None:
            await hold.grow(size)
        pieces.append(piece)
        if not message.get("more_body", False):
            return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _too_large(cap_mib: float) -> BodyTooLarge:
    return BodyTooLarge(f"Request body is too large. Maximum size: {cap_mib}MB")
