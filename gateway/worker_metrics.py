"""The metrics of several workers: each counts in files of its own, which the parent adds up for every scrape.

The directory is made anew for each launch, before a worker imports the client that writes there: files of earlier
processes would be counted again, and another gateway's too. A lock, held by the parent and its workers for as long as
one of them lives, tells a directory in use from one that a killed launch left behind; the next launch removes those.
"""

import contextlib
import fcntl
import os
import shutil
import tempfile
import threading
from collections.abc import Iterable
from pathlib import Path

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"

_PREFIX = "gateway-metrics-"
_LOCK = "lock"
_KINDS = ("counter", "histogram")


class WorkerMetrics(Collector):
    """Shows the metrics of all workers, living and dead, as one process's."""

    def __init__(self) -> None:
        """Make the directory, and remove those that nobody uses any more."""
        _remove_leftovers(Path(tempfile.gettempdir()))
        self.directory, self.lock = _make()
        self._reading = threading.Lock()  # scrapes come in threads of their own
        self._all = MultiProcessCollector(None, path=str(self.directory))  # type: ignore[no-untyped-call]  # the package's

    def register(self, registry: CollectorRegistry) -> None:
        """Show them in a registry."""
        registry.register(self)

    def describe(self) -> Iterable[Metric]:
        """Name no metric beforehand: which there are, the files say."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """Add up what the workers counted."""
        with self._reading:
            return list(self._all.collect())  # type: ignore[no-untyped-call]  # the package's

    def bury(self, pid: int) -> None:
        """Take a dead worker out of the gauges, and add what it counted to what all the dead did, in one file a kind.

        Left alone, its files would be read at every scrape for as long as the gateway runs, and those of the next ones.
        """
        with self._reading:
            mark_process_dead(pid, str(self.directory))  # type: ignore[no-untyped-call]  # the package's
            for kind in _KINDS:
                with contextlib.suppress(FileNotFoundError):  # it died before it counted anything
                    _add(self.directory / f"{kind}_{pid}.db", self.directory / f"{kind}_dead.db")

    def close(self) -> None:
        """Remove the directory; no worker is left."""
        shutil.rmtree(self.directory, ignore_errors=True)
        os.close(self.lock)


def _make() -> tuple[Path, int]:
    """Make a directory and take its lock; return both."""
    while True:
        directory = Path(tempfile.mkdtemp(prefix=_PREFIX))
        lock = os.open(directory / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)
        if directory.exists():
            return directory, lock
        os.close(lock)  # another launch took it for a leftover, in the moment before it was locked


def _remove_leftovers(parent: Path) -> None:
    """Remove directories of launches of which no process is left, as far as they are ours."""
    for path in parent.glob(f"{_PREFIX}*/{_LOCK}"):
        try:
            lock = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            continue  # another user's, or gone
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue  # in use
        else:
            shutil.rmtree(path.parent, ignore_errors=True)
        finally:
            os.close(lock)


def _add(counted: Path, to: Path) -> None:
    values = MmapedDict.read_all_values_from_file(counted)  # type: ignore[no-untyped-call]  # the package's
    total = MmapedDict(str(to))  # type: ignore[no-untyped-call]  # the package's
    try:
        for key, value, _, _ in values:
            total.write_value(key, total.read_value(key)[0] + value, 0.0)  # type: ignore[no-untyped-call]  # the package's
    finally:
        total.close()  # type: ignore[no-untyped-call]  # the package's
    counted.unlink()
