"""The catalog in use, read again when its file changes. A faulty new version is reported, and the old one stays."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from gateway.catalog.catalog import Catalog
from gateway.catalog.load import CatalogFault, load

SECONDS_BETWEEN_LOOKS = 2.0

_Stamp: TypeAlias = tuple[int, int, int] | None


class CatalogFile:
    """Holds the current catalog of a file, or the shipped one, which never changes."""

    def __init__(self, path: Path | None, report: Callable[[Catalog | CatalogFault], None]) -> None:
        """Read the file for the first time; `report` is told of each new version, taken or refused.

        Raises CatalogFault if this first version is faulty.
        """
        self._path = path
        self._report = report
        self._seen = _stamp(path)
        self.current = load(path)
        """The newest version that was without fault."""

    def look(self) -> None:
        """Read the file again if it is another than the one last seen."""
        seen = _stamp(self._path)  # before reading: what changes in between is another change, seen next time
        if seen == self._seen:
            return
        self._seen = seen
        try:
            self.current = load(self._path)
        except CatalogFault as fault:
            self._report(fault)
        else:
            self._report(self.current)

    async def watch(self, every: float = SECONDS_BETWEEN_LOOKS) -> None:
        """Look every so many seconds until cancelled; `report` is then called in a thread."""
        if self._path is None:
            return
        while True:
            await asyncio.sleep(every)
            await asyncio.to_thread(self.look)  # the file may be on a network


def _stamp(path: Path | None) -> _Stamp:
    """Return what changes when a file is written or replaced; None if it is not there."""
    if path is None:
        return None
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
