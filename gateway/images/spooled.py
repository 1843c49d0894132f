"""The store as the gateway uses it: the real one, with the spool behind it for when that is down or slow.

`SpooledStore` is a Store to whoever keeps, reads or erases. It learns from each `put`, and from `check`, whether the
real store is there; while it is not, images go to the spool at once. `flow/spool_watch.py` stores them later.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from math import inf
from typing import Final

import structlog

from gateway.clock import Millis
from gateway.images.local import LocalImage
from gateway.images.spool import Spool
from gateway.images.store import ImageName, Store, StoredImage, StoreUnavailable, Trouble

PATIENCE_SECONDS: Final = 10.0
"""How long a caller waits for the store before the image goes to the spool."""

EXPECTED_BYTES: Final = 4 << 20
"""Room in the spool that is counted for a generation which has not brought its image yet."""

_LONGEST_WAY: Final[Millis] = 24 * 3600 * 1000


class SpooledStore:
    """A Store that keeps images while the one behind it is away."""

    def __init__(self, store: Store, spool: Spool, *, processes: int) -> None:
        """Stand in front of a store; `processes` of this host share the spool."""
        self.behind: Final = store
        self.spool: Final = spool
        self._processes = processes
        self._log = structlog.get_logger("store")
        self.trouble: Trouble | None = None
        """Why the store is away; None while it is there."""
        self.tried_at = -inf
        """When the store was last tried, by `time.monotonic`."""
        self.went_away: Final = asyncio.Event()
        """Set when it goes away."""

    async def put(self, name: str, image: bytes) -> None:
        """Keep an image: in the store, or in the spool on its way there. Raises StoreUnavailable if neither works."""
        told: StoreUnavailable | None = None
        if self.trouble is None:
            told = await self._try(name, image)
            if told is None:
                return
        try:
            await self.spool.put(name, image)
        except StoreUnavailable as error:
            if told is None:
                told = await self._try(name, image)  # it may be back
            if told is not None:
                raise StoreUnavailable(told.trouble, f"{told.detail}; spool: {error}") from error

    def pending(self, name: str) -> bool:
        """Whether an image is still on its way to the store, as far as this process knows."""
        return name in self.spool

    def has_room(self, running: int) -> bool:
        """Whether what one generation more may bring could be kept, beside those that this process runs."""
        if self.trouble is None:
            return True
        expected = (running + 1) * self._processes * EXPECTED_BYTES
        return not self.spool.failing and self.spool.size + expected <= self.spool.room

    async def open(self, name: str) -> StoredImage | None:
        """Find an image, wherever it is."""
        if name in self.spool and (waiting := await self._spooled(name)) is not None:
            return waiting
        try:
            found = await self.behind.open(name)
        except StoreUnavailable:
            waiting = await self._spooled(name)  # another process of this host may have put it there
            if waiting is None:
                raise
            return waiting
        return await self._spooled(name) if found is None else found

    async def delete(self, name: str) -> None:
        """Forget an image: in the spool first, so that it is not stored afterwards."""
        await self.spool.delete(name)
        await self.behind.delete(name)

    async def check(self) -> None:
        """Write a few bytes to the store itself, and learn from it."""
        try:
            await self.behind.check()
        except StoreUnavailable as error:
            self._learn(error)
            raise
        self._learn(None)

    async def sweep(self) -> int:
        """Remove what dead writers left unfinished, in both places."""
        return await self.behind.sweep() + await self.spool.sweep()

    async def close(self) -> None:
        """Let go of the store's resources. What is in the spool stays there for the next process."""
        await self.behind.close()

    async def _try(self, name: str, image: bytes) -> StoreUnavailable | None:
        """Put an image into the store; return why that failed."""
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await self.behind.put(name, image)
        except TimeoutError:
            error = StoreUnavailable(Trouble.UNREACHABLE, f"an image took longer than {PATIENCE_SECONDS:.0f} seconds")
        except StoreUnavailable as unavailable:
            error = unavailable
        else:
            self._learn(None)
            return None
        self._learn(error)
        return error

    def _learn(self, error: StoreUnavailable | None) -> None:
        """Remember how the store was found, and say so if that is news."""
        trouble = None if error is None else error.trouble
        if self.trouble is None and trouble is not None:
            self.went_away.set()
        if error is not None and trouble != self.trouble:
            self._log.error("image store is away, images are spooled", trouble=trouble, reason=error.detail)
        elif error is None and self.trouble is not None:
            self._log.info("image store is back", spooled=len(self.spool.waiting))
        self.trouble, self.tried_at = trouble, time.monotonic()

    async def _spooled(self, name: str) -> "SpooledImage | None":
        image = await self.spool.open(name)
        return None if image is None else SpooledImage(image.name, image.size, image, self.behind)


@dataclass(frozen=True, slots=True)
class SpooledImage:
    """A StoredImage in the spool, which may be stored, and leave the spool, while it is read."""

    name: ImageName
    size: int
    _here: LocalImage = field(repr=False)
    _behind: Store = field(repr=False)

    async def read(self, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """Yield the bytes from `start` up to `end`; the rest of them from the store, once it is there."""
        try:
            async for piece in self._here.read(start, end):
                start += len(piece)
                yield piece
        except StoreUnavailable:
            moved = await self._behind.open(self.name.text)
            if moved is None:
                raise
            async for piece in moved.read(start, end):
                yield piece


def on_its_way(created_at: Millis, now: Millis) -> bool:
    """Whether an image that the ledger has, and this host has not, is taken to wait in another host's spool."""
    return now - created_at < _LONGEST_WAY
