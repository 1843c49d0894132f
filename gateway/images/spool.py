"""The spool: images that wait for a store that is down or slow, in a bounded directory of this host.

An image is kept from the moment it is synced here. The processes of a host share the directory: each counts what all of
them have in it, and whoever stores or forgets an image holds a lock on its file meanwhile, so that no two do it at once
and what was forgotten is not stored afterwards.
"""

import asyncio
import contextlib
import fcntl
import os
from collections.abc import Awaitable, Iterator
from pathlib import Path
from typing import Final

from gateway.images.local import LocalImage, LocalStore, in_thread, subdirectories, unavailable
from gateway.images.store import StoreUnavailable, Trouble, parse_name
from gateway.metrics import Metrics

_LOCKED: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_POLL_SECONDS: Final = 0.05
_PATIENCE_SECONDS: Final = 15.0


class Busy(Exception):
    """Somebody else stores or forgets the image at this moment."""


class Spool:
    """A bounded directory of images. What it counts is as of the last `look`, and what this process did since."""

    def __init__(self, directory: Path, room: int, metrics: Metrics) -> None:
        """Name the directory and how many bytes it may hold; nothing is touched before a call."""
        self._directory = directory
        self._files = LocalStore(directory)
        self._metrics = metrics
        self._waiting: dict[str, int] = {}
        self.room: Final = room
        self.size = 0
        """Bytes in it."""
        self.failing = False
        """Whether it could not be written to when that was last tried."""

    def __contains__(self, name: str) -> bool:
        """Whether an image waits here, as far as this process knows."""
        return name in self._waiting

    @property
    def waiting(self) -> list[str]:
        """The images that wait, the oldest first: a name begins with the time it was made at."""
        return sorted(self._waiting)

    async def put(self, name: str, image: bytes) -> None:
        """Keep an image here, durably. Raises StoreUnavailable, FULL if there is no room for it."""
        if self.size + len(image) > self.room:
            raise StoreUnavailable(Trouble.FULL, f"the spool holds {self.size} of {self.room} bytes")
        self._note(name, len(image))  # before it is written: those written at the same time share the room
        written = None
        try:
            await self._tried(self._files.put(name, image))
            written = len(image)
        finally:
            self._note(name, written)  # again: a `look` meanwhile may not have seen it

    async def check(self) -> None:
        """Write a few bytes. Raises StoreUnavailable."""
        await self._tried(self._files.check())

    async def open(self, name: str) -> LocalImage | None:
        """Find an image, whichever process put it here."""
        return await self._files.open(name)

    async def delete(self, name: str) -> None:
        """Forget an image; waits for whoever is storing it. Raises StoreUnavailable if that takes too long."""
        for _ in range(int(_PATIENCE_SECONDS / _POLL_SECONDS)):
            try:
                with self.claim(name) as held:
                    if held:
                        await self.remove(name)
                    self._note(name, None)
                    return
            except Busy:
                await asyncio.sleep(_POLL_SECONDS)
        raise StoreUnavailable(Trouble.UNREACHABLE, f"{name} is being stored at this moment")

    @contextlib.contextmanager
    def claim(self, name: str) -> Iterator[bool]:
        """Hold an image until the block ends; False if it is not here (any more). Raises Busy, StoreUnavailable."""
        file = self._locked(name)
        try:
            yield file is not None
        finally:
            if file is not None:
                os.close(file)

    async def remove(self, name: str) -> None:
        """Remove an image, durably. For who holds it."""
        await self._files.delete(name)
        self._note(name, None)

    async def look(self) -> None:
        """Count what all processes have here. Raises StoreUnavailable."""
        before = dict(self._waiting)
        found = await in_thread(self._scan)
        for name in before.keys() | found.keys():
            # What this process added or removed meanwhile is newer than what was found.
            if self._waiting.get(name) == before.get(name):
                self._note(name, found.get(name))
        self._show()  # an empty spool is 0, not nothing

    async def sweep(self) -> int:
        """Remove what dead writers left unfinished; return how many files."""
        return await self._files.sweep()

    async def _tried(self, writing: Awaitable[None]) -> None:
        try:
            await writing
        except StoreUnavailable:
            self.failing = True
            raise
        self.failing = False

    def _locked(self, name: str) -> int | None:
        """Open and lock the file of an image; None if there is none. Neither waits for anything."""
        parsed = parse_name(name)
        if parsed is None:
            return None
        try:
            file = os.open(self._directory / parsed.shard / parsed.text, _LOCKED)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise unavailable(error) from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(file).st_nlink:
                return file
        except BlockingIOError:
            os.close(file)
            raise Busy from None
        os.close(file)  # whoever held it has removed it
        return None

    def _scan(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for shard in subdirectories(self._directory):
            with contextlib.suppress(FileNotFoundError), os.scandir(shard) as entries:
                for entry in entries:
                    if parse_name(entry.name) is not None:
                        with contextlib.suppress(FileNotFoundError):
                            found[entry.name] = entry.stat(follow_symlinks=False).st_size
        return found

    def _note(self, name: str, size: int | None) -> None:
        self.size += (0 if size is None else size) - self._waiting.pop(name, 0)
        if size is not None:
            self._waiting[name] = size
        self._show()

    def _show(self) -> None:
        self._metrics.spool_images.set(len(self._waiting))
        self._metrics.spool_bytes.set(self.size)
