"""What waits for SQL: settlements that could not be committed, in an fsynced file until they are.

One file a process in `journal/` of the data directory. It is appended to when SQL is away, emptied when all of it is
committed, and taken over by the next process that starts there if this one dies; a lock on the file tells who lives.
"""

import asyncio
import errno
import fcntl
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson

from gateway.ledger.bill import Bill
from gateway.ledger.records import Abandonment, Settlement


@dataclass(frozen=True, slots=True)
class JournaledImage:
    """An ImageRecord read back from the journal."""

    name: str
    media_type: str
    size: int
    width: int
    height: int
    sha256: str


class Journal:
    """The file of one process, which holds a lock on it while it lives. Entries are in memory too, in their order."""

    def __init__(self, directory: Path, process_id: str) -> None:
        self._directory = directory
        self._path = directory / f"{process_id}.jsonl"
        self._lock = asyncio.Lock()
        self._file: int | None = None
        self.entries: list[Settlement | Abandonment] = []

    def open(self) -> int:
        """Make the file, and take over what processes that are gone left here; return how many entries.

        A last line that a crash cut short was never acknowledged.
        """
        self._directory.mkdir(parents=True, exist_ok=True)
        self._file = self._locked()
        for path in sorted(self._directory.glob("*.jsonl")):
            if path != self._path:
                self._adopt(path)
        _sync_directory(self._directory)
        return len(self.entries)

    def _locked(self) -> int:
        """Make and lock the file; one that another process took for a dead one's before the lock is made again."""
        while True:
            file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            fcntl.flock(file, fcntl.LOCK_EX)
            if os.fstat(file).st_nlink:
                return file
            os.close(file)

    async def append(self, entry: Settlement | Abandonment) -> None:
        """Remember an entry durably."""
        async with self._lock:
            self.entries.append(entry)
            await asyncio.to_thread(self._write, _to_line(entry))

    async def done(self, entries: list[Settlement | Abandonment]) -> None:
        """Forget entries that are committed; the file is emptied once none is left."""
        async with self._lock:
            # The very ones that `entries` held: after a long outage comparing each with each would take minutes.
            committed = {id(entry) for entry in entries}
            self.entries = [entry for entry in self.entries if id(entry) not in committed]
            if not self.entries:
                await asyncio.to_thread(os.ftruncate, self._opened(), 0)

    def close(self) -> None:
        """Give up the file; it stays if something in it was not committed."""
        if not self.entries:
            self._path.unlink(missing_ok=True)
        os.close(self._opened())
        self._file = None

    def _adopt(self, path: Path) -> None:
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return  # its process left, or another one took it over
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for entry in _entries(path):
                self.entries.append(entry)
                self._write(_to_line(entry))
            path.unlink()
        except BlockingIOError:
            return  # its process lives
        except FileNotFoundError:
            return  # another one took it over between the opening and the lock
        finally:
            os.close(descriptor)

    def _write(self, line: bytes) -> None:
        file = self._opened()
        size = os.fstat(file).st_size
        if os.write(file, line) != len(line):
            os.ftruncate(file, size)  # half a line would spoil the next one
            raise OSError(errno.ENOSPC, "the journal could not be written whole", str(self._path))
        os.fsync(file)

    def _opened(self) -> int:
        if self._file is None:
            raise ValueError("the journal is not open")
        return self._file


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _to_line(entry: Settlement | Abandonment) -> bytes:
    kind = "settlement" if isinstance(entry, Settlement) else "abandonment"
    fields = {name: getattr(entry, name) for name in entry.__dataclass_fields__ if name != "images"}
    if isinstance(entry, Settlement):
        fields["bill"] = asdict(entry.bill)
        fields["images"] = [
            {name: getattr(image, name) for name in JournaledImage.__dataclass_fields__} for image in entry.images
        ]
    return orjson.dumps({"kind": kind, "entry": fields}) + b"\n"


def _entries(path: Path) -> Iterator[Settlement | Abandonment]:
    for line in path.read_bytes().split(b"\n")[:-1]:
        record: dict[str, Any] = orjson.loads(line)
        fields = record["entry"]
        if record["kind"] == "abandonment":
            yield Abandonment(**fields)
        else:
            images = tuple(JournaledImage(**image) for image in fields.pop("images"))
            yield Settlement(**{**fields, "bill": Bill(**fields["bill"]), "images": images})
