"""Server-Sent Events of one generation: its stages as they come, a comment now and then, and its end.

To be read with fetch: the browser's EventSource cannot send a key. https://html.spec.whatwg.org/#server-sent-events
"""

import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import orjson
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from gateway.errors import GatewayError, RateLimited, Unavailable
from gateway.flow.stages import Stage, Stages

CAPACITY = 1000
"""Streams of one process at once."""

OF_A_TENANT = 100
OF_AN_END_USER = 10
"""So that one of a tenant's does not take those of all the others."""

HEARTBEAT_SECONDS = 15.0
LONGEST_SECONDS = 1800.0
"""No generation lasts so long; a reader that comes back goes on where it was."""

LOOK_SECONDS = 1.0
RETRY_MS = 2000

_PLACES: dict[Stage, int] = {"reserved": 1, "generating": 2, "keeping": 3, "settled": 4, "released": 4, "unknown": 4}
"""What `Last-Event-ID` says of a stage: they come in this order, though not every one is seen from everywhere."""

LAST = 4
_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}

End = Callable[[], Awaitable[dict[str, Any]]]
"""Shows the generation as it is at its end. Raises GatewayError."""

Reader: TypeAlias = tuple[str, str | None]
"""A tenant, and the end user of it; None for the tenant with all of its end users."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What one stream is about, and who reads it: a tenant, or an end user of it."""

    generation_id: str
    tenant_id: str
    end_user: str | None
    end: End

    def bounds(self) -> dict[Reader, int]:
        """Say for whom the stream counts, and how many each may have."""
        bounds: dict[Reader, int] = {(self.tenant_id, None): OF_A_TENANT}
        if self.end_user is not None:
            bounds[self.tenant_id, self.end_user] = OF_AN_END_USER
        return bounds


@dataclass(slots=True)
class Streams:
    """How many streams a process has open."""

    closing: bool = False
    """Whether streams end, because this process leaves; what runs in this process is still seen to its end."""
    _open: int = 0
    _of: Counter[Reader] = field(default_factory=Counter)

    def admit(self, subject: Subject) -> None:
        """Return if one more may be opened. Raises RateLimited, Unavailable."""
        for reader, most in subject.bounds().items():
            if self._of[reader] >= most:
                raise RateLimited(f"Too many event streams; at most {most} at once", retry_after=RETRY_MS // 1000)
        if self._open >= CAPACITY:
            raise Unavailable("Too many event streams are open", retry_after=RETRY_MS // 1000)

    @contextmanager
    def counted(self, subject: Subject) -> Iterator[None]:
        """Count a stream while it is open."""
        self._open += 1
        self._of.update(subject.bounds().keys())
        try:
            yield
        finally:
            self._open -= 1
            for reader in subject.bounds():
                self._of[reader] -= 1
                if not self._of[reader]:
                    del self._of[reader]


def seen_until(request: Request) -> int:
    """Return the place of the event that a reader who comes back had last; 0 for a new one."""
    text = request.headers.get("last-event-id", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) == 1 else 0


def stream(subject: Subject, seen: int, stages: Stages, streams: Streams) -> Response:
    """Answer with the events after the one that was seen last; 204 tells a reader who has them all to stay away.

    Raises RateLimited, Unavailable.
    """
    if seen >= LAST:
        return Response(status_code=204, headers=_HEADERS)
    streams.admit(subject)
    return _Stream(subject, _events(subject, seen, stages, streams), streams)


class _Stream(StreamingResponse):
    """Counted while it is sent; it ends with its reader."""

    def __init__(self, subject: Subject, events: AsyncIterator[bytes], streams: Streams) -> None:
        super().__init__(events, media_type="text/event-stream", headers=_HEADERS)
        self._subject = subject
        self._streams = streams

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._streams.counted(self._subject):
            await super().__call__(scope, receive, send)


async def _events(subject: Subject, seen: int, stages: Stages, streams: Streams) -> AsyncIterator[bytes]:
    began = said = time.monotonic()
    yield b"retry: %d\n\n" % RETRY_MS
    with stages.watch(subject.generation_id) as watcher:
        stage: Stage | None = "reserved"
        while time.monotonic() - began < LONGEST_SECONDS:
            if stage is not None and _PLACES[stage] == LAST:
                try:
                    shown = await subject.end()
                except GatewayError:
                    return  # its reader comes back, or finds that it was erased
                yield _event(stage, shown)
                return
            if stage is not None and _PLACES[stage] > seen:
                yield _event(stage, {"id": subject.generation_id, "state": "reserved"})
                said = time.monotonic()
            elif time.monotonic() - said >= HEARTBEAT_SECONDS:
                yield b": still running\n\n"
                said = time.monotonic()
            if streams.closing and not stages.here(subject.generation_id):
                return
            stage = await watcher.next(LOOK_SECONDS)


def _event(stage: Stage, data: dict[str, Any]) -> bytes:
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (_PLACES[stage], stage.encode(), orjson.dumps(data))
