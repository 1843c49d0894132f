"""Room for large bodies: how many bytes of requests a process holds at once, from their reading to their answer."""

import asyncio
import random
from types import TracebackType
from typing import Any, Self

from gateway.errors import Unavailable

CAPACITY_BYTES = 512 << 20
UNCOUNTED_BYTES = 64 << 10
"""A body of so many bytes is not worth the counting: a process's capacity in generations bounds those."""

PATIENCE_SECONDS = 5.0
RETRY_SECONDS = (3, 8)
"""Between these: callers who were refused together shall not come again together."""


class Hold:
    """What one request holds of the room. It begins with nothing, and gives back what it holds when its block ends."""

    __slots__ = ("_room", "size")

    def __init__(self, room: "BodyRoom") -> None:
        self._room = room
        self.size = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._room.give(self.size)

    async def grow(self, size: int) -> None:
        """Hold so many bytes in all. Waits for room at most 5 seconds, then raises Unavailable."""
        if size > max(self.size, UNCOUNTED_BYTES):
            await self._room.take(size - self.size)
            self.size = size

    def until(self, work: "asyncio.Task[Any]") -> None:
        """Hold it for this work, whose request is answered already, until that ends."""
        size, self.size = self.size, 0
        work.add_done_callback(lambda _: self._room.give(size))


class BodyRoom:
    """Shared by all requests of a process."""

    def __init__(self, capacity: int = CAPACITY_BYTES) -> None:
        self._free = capacity
        self._freed = asyncio.Event()

    def hold(self) -> Hold:
        """Return what a request shall hold: `with room.hold() as hold`."""
        return Hold(self)

    async def take(self, size: int) -> None:
        """Take so many bytes; see `Hold.grow`."""
        if size > self._free:
            try:
                async with asyncio.timeout(PATIENCE_SECONDS):
                    while size > self._free:
                        self._freed.clear()
                        await self._freed.wait()
            except TimeoutError:
                seconds = random.randint(*RETRY_SECONDS)  # noqa: S311 -- spreads callers, guards nothing
                raise Unavailable("Too many large requests at once", retry_after=seconds) from None
        self._free -= size

    def give(self, size: int) -> None:
        """Give so many bytes back."""
        self._free += size
        self._freed.set()
