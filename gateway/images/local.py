"""The store of the smallest setup: a directory on a local file system, durable by itself.

An image is written to a file beside its place, synced, renamed into place, and the directory synced: after a crash or
a power cut it is there whole or not at all, and once `put` has returned it is there
(https://research.cs.wisc.edu/wind/Publications/alice-osdi14.html tells what goes wrong otherwise).
Every path is opened relative to the directory and without following symbolic links. What blocks runs in a thread, one
hop a call.
"""

import asyncio
import contextlib
import errno
import os
import secrets
import stat
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, ParamSpec, TypeVar

from gateway.images.store import ImageName, StoreUnavailable, Trouble, parse_name

P = ParamSpec("P")
R = TypeVar("R")

_PIECE: Final = 1 << 20
_WRITTEN_AT_ONCE: Final = 64 << 10
"""More at once has Linux's page cache ask for larger blocks of memory, which the host of a virtual machine may first
have to find: with 2 MB a tenth to a fifth fewer images were kept in a second, and other threads waited longer."""
_UNFINISHED: Final = ".part"
_UNFINISHED_SECONDS: Final = 3600  # nobody writes one image for so long, so an older file is a dead writer's
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a FIFO in an image's place must not block
_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_ABSENT: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})  # ELOOP: a symbolic link, which is no image
_TROUBLES: Final = {
    errno.ENOSPC: Trouble.FULL,
    errno.EDQUOT: Trouble.FULL,
    errno.EACCES: Trouble.REFUSED,
    errno.EPERM: Trouble.REFUSED,
    errno.EROFS: Trouble.REFUSED,
    errno.ENOENT: Trouble.NO_BUCKET,
    errno.ENOTDIR: Trouble.NO_BUCKET,
    errno.EEXIST: Trouble.NO_BUCKET,  # something else is in the directory's place
    errno.ELOOP: Trouble.NO_BUCKET,
}


class LocalStore:
    """A Store in a directory, spread over 256 subdirectories; several processes may share it."""

    def __init__(self, directory: Path) -> None:
        """Name the directory; nothing is touched before a call, and the first one that writes makes it."""
        self._directory = directory
        self._known_shards: set[str] = set()

    async def put(self, name: str, image: bytes) -> None:
        """Keep an image: under its final name and synced to disk when this returns."""
        parsed = parse_name(name)
        if parsed is None:
            raise ValueError(f"not the name of an image: {name!r}")
        await in_thread(self._write, parsed, image)

    async def open(self, name: str) -> "LocalImage | None":
        """Find an image by its name."""
        parsed = parse_name(name)
        if parsed is None:
            return None
        size = await in_thread(self._size, parsed)
        return None if size is None else LocalImage(parsed, size, self._directory)

    async def delete(self, name: str) -> None:
        """Remove an image, durably."""
        parsed = parse_name(name)
        if parsed is not None:
            await in_thread(self._remove, parsed)

    async def check(self) -> None:
        """Write, sync and remove a file."""
        await in_thread(self._probe)

    async def sweep(self) -> int:
        """Remove what writers left unfinished when they were killed an hour ago or earlier; return how many files.

        Younger files may be another process's, at work.
        """
        return await in_thread(self._sweep)

    async def close(self) -> None:
        """Nothing is held open between calls."""

    def _write(self, name: ImageName, image: bytes) -> None:
        try:
            self._place(name, image)
        except FileNotFoundError:
            # Somebody removed a directory that this process has seen: make it again.
            self._known_shards.clear()
            self._place(name, image)

    def _place(self, name: ImageName, image: bytes) -> None:
        with self._shard(name.shard) as shard:
            unfinished = f"{name.text}.{secrets.token_hex(8)}{_UNFINISHED}"
            try:
                _write_synced(unfinished, image, shard)
                os.rename(unfinished, name.text, src_dir_fd=shard, dst_dir_fd=shard)
            except BaseException:
                # A crash leaves the file to `sweep`; a full disk must not.
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(unfinished, dir_fd=shard)
                raise
            os.fsync(shard)

    @contextlib.contextmanager
    def _shard(self, shard: str) -> Iterator[int]:
        """Open a subdirectory for writing; it and its entry in the directory are durable."""
        if shard not in self._known_shards:
            self._directory.mkdir(parents=True, exist_ok=True)
        with _opened(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC) as top:
            if shard not in self._known_shards:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(shard, mode=0o750, dir_fd=top)
                os.fsync(top)  # also if it existed: who made it may not have come to sync it
                self._known_shards.add(shard)
            with _opened(shard, _DIRECTORY, top) as opened:
                yield opened

    def _size(self, name: ImageName) -> int | None:
        try:
            with _opened_image(self._directory, name) as image:
                return os.fstat(image).st_size
        except FileNotFoundError:
            # None of this name; unless the whole directory is missing, which `check` and `put` tell.
            return None

    def _remove(self, name: ImageName) -> None:
        # Without the directory itself nothing can be said to be gone: a disk may not be mounted.
        with _opened(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC) as top:
            try:
                with _opened(name.shard, _DIRECTORY, top) as shard:
                    os.unlink(name.text, dir_fd=shard)
                    os.fsync(shard)
            except OSError as error:
                if error.errno not in _ABSENT:
                    raise

    def _probe(self) -> None:
        self._directory.mkdir(parents=True, exist_ok=True)
        with _opened(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC) as top:
            probe = f"check.{secrets.token_hex(8)}{_UNFINISHED}"
            try:
                _write_synced(probe, b"check", top)
            finally:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(probe, dir_fd=top)

    def _sweep(self) -> int:
        swept = 0
        oldest = time.time() - _UNFINISHED_SECONDS
        for directory in [self._directory, *subdirectories(self._directory)]:
            with contextlib.suppress(FileNotFoundError), os.scandir(directory) as entries:
                for entry in entries:
                    if entry.name.endswith(_UNFINISHED) and entry.stat(follow_symlinks=False).st_mtime < oldest:
                        Path(entry.path).unlink()
                        swept += 1
        return swept


@dataclass(frozen=True, slots=True)
class LocalImage:
    """A StoredImage in a directory; opened afresh for each piece, so an abandoned reader leaks nothing."""

    name: ImageName
    size: int
    _directory: Path = field(repr=False)

    async def read(self, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """Yield the bytes from `start` up to `end`, one thread hop a piece."""
        end = self.size if end is None else end
        while start < end:
            piece = await in_thread(self._piece, start, min(_PIECE, end - start))
            if not piece:
                raise StoreUnavailable(Trouble.UNREACHABLE, f"{self.name.text} became shorter")
            start += len(piece)
            yield piece

    def _piece(self, start: int, length: int) -> bytes:
        with _opened_image(self._directory, self.name) as image:
            return os.pread(image, length, start)


async def in_thread(blocking: Callable[P, R], *arguments: P.args, **named: P.kwargs) -> R:
    """Do what blocks in a thread. Raises StoreUnavailable for an OSError."""
    try:
        return await asyncio.to_thread(blocking, *arguments, **named)
    except OSError as error:
        raise unavailable(error) from error


def unavailable(error: OSError) -> StoreUnavailable:
    """Say what an error of the system means for a store."""
    trouble = _TROUBLES.get(error.errno or 0, Trouble.UNREACHABLE)
    return StoreUnavailable(trouble, f"{type(error).__name__}: {error.strerror}")


@contextlib.contextmanager
def _opened(path: Path | str, flags: int, directory: int | None = None) -> Iterator[int]:
    descriptor = os.open(path, flags, dir_fd=directory)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _opened_shard(directory: Path, shard: str) -> Iterator[int]:
    with (
        _opened(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC) as top,
        _opened(shard, _DIRECTORY, top) as opened,
    ):
        yield opened


@contextlib.contextmanager
def _opened_image(directory: Path, name: ImageName) -> Iterator[int]:
    """Open an image for reading; raises FileNotFoundError for whatever is no regular file inside the directory."""
    try:
        with _opened_shard(directory, name.shard) as shard, _opened(name.text, _READ, shard) as image:
            if not stat.S_ISREG(os.fstat(image).st_mode):
                raise FileNotFoundError(errno.ENOENT, "not a regular file")
            yield image
    except OSError as error:
        if error.errno in _ABSENT and not isinstance(error, FileNotFoundError):
            raise FileNotFoundError(errno.ENOENT, "not in the directory") from error
        raise


def _write_synced(name: str, content: bytes, directory: int) -> None:
    descriptor = os.open(name, _CREATE, 0o640, dir_fd=directory)
    try:
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(descriptor, rest[:_WRITTEN_AT_ONCE]) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def subdirectories(directory: Path) -> list[Path]:
    """Return the directories in a directory, which need not be there. Blocks."""
    with contextlib.suppress(FileNotFoundError), os.scandir(directory) as entries:
        return [Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False)]
    return []
