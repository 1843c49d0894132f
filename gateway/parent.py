"""Several workers: a parent that holds the listening socket and the metrics port, and serves no request itself.

It starts a worker anew when one dies, and replaces them one by one on SIGHUP: a new one takes requests before an old
one leaves. Draining and leaving are different ends (see `life.py`), which is why neither uvicorn's supervisor nor
gunicorn's serves here: both have but one signal for the two.
"""

import asyncio
import os
import shutil
import signal
import socket
import sys
import tempfile
from dataclasses import dataclass

import structlog
from prometheus_client import CollectorRegistry
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

METRICS_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
RESTART_SECONDS = 1.0
START_SECONDS = 60.0


@dataclass(slots=True)
class Worker:
    """One worker process; `wanted` until it is told to go."""

    process: asyncio.subprocess.Process
    wanted: bool = True


class Parent:
    """Keeps so many workers."""

    def __init__(self, workers: int, listener: socket.socket) -> None:
        self._count = workers
        self._listener = listener
        self._workers: list[Worker] = []
        self._watches: set[asyncio.Task[None]] = set()
        self._replacing: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()
        self._failed = False
        self._log = structlog.get_logger("parent")
        # Made anew for this launch: files of earlier processes would be counted again, and another gateway's too.
        self._metrics = tempfile.mkdtemp(prefix="gateway-metrics-")

    def collect_metrics(self, registry: CollectorRegistry) -> None:
        """Show the metrics of all workers, living and dead, in a registry."""
        MultiProcessCollector(registry, path=self._metrics)  # type: ignore[no-untyped-call]  # the package's

    async def run(self) -> int:
        """Keep the workers until told to stop; return the exit status."""
        try:
            if await self._start_all():
                self._log.info("serving", workers=self._count)
            elif not self._stopping.is_set():
                self._failed = True
                self.stop()
            await self._stopping.wait()
            while self._watches:
                await asyncio.wait(self._watches)
        finally:
            shutil.rmtree(self._metrics, ignore_errors=True)
        self._log.info("stopped")
        return 1 if self._failed else 0

    async def _start_all(self) -> bool:
        """Start the workers one by one; return whether all take requests. One that was stopped on the way does not."""
        for _ in range(self._count):
            if self._stopping.is_set() or not await self._start():
                return False
        return True

    def stop(self) -> None:
        """Let every worker drain; asked a second time, hurry."""
        self._stopping.set()
        for worker in self._workers:
            worker.wanted = False
            self._send(worker, signal.SIGTERM)

    def replace(self) -> None:
        """Replace the workers one by one; a second request while that goes on is nothing new."""
        if self._replacing is None and not self._stopping.is_set():
            self._replacing = asyncio.create_task(self._replace(), name="replace workers")

    async def _replace(self) -> None:
        try:
            for old in list(self._workers):
                if self._stopping.is_set() or not await self._start():
                    self._log.error("workers are not replaced: the old ones stay")
                    return
                old.wanted = False
                self._send(old, signal.SIGUSR1)
                await old.process.wait()
            self._log.info("workers replaced")
        finally:
            self._replacing = None

    async def _start(self) -> bool:
        """Start a worker; return whether it came to take requests."""
        reading, writing = os.pipe()
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "gateway",
                "worker",
                str(self._listener.fileno()),
                str(writing),
                pass_fds=(self._listener.fileno(), writing),
                env=self._environment(),
                # A terminal's signals are for the parent alone.
                start_new_session=True,
            )
        finally:
            os.close(writing)
        worker = Worker(process)
        self._workers.append(worker)
        watch = asyncio.create_task(self._watch(worker), name="watch worker")
        self._watches.add(watch)
        watch.add_done_callback(self._watches.discard)
        if self._stopping.is_set():  # while the process was being made: `stop` has not seen it
            worker.wanted = False
            self._send(worker, signal.SIGTERM)
        try:
            return await asyncio.wait_for(asyncio.to_thread(os.read, reading, 1), START_SECONDS) == b"."
        except TimeoutError:
            return False
        finally:
            os.close(reading)

    async def _watch(self, worker: Worker) -> None:
        """Wait for a worker's end, take it out of the gauges, and start another if it was wanted."""
        status = await worker.process.wait()
        mark_process_dead(worker.process.pid, self._metrics)  # type: ignore[no-untyped-call]  # the package's
        self._workers.remove(worker)
        if not worker.wanted:
            return
        self._log.error("worker died", pid=worker.process.pid, status=status)
        await asyncio.sleep(RESTART_SECONDS)
        if not self._stopping.is_set():
            await self._start()

    def _send(self, worker: Worker, number: signal.Signals) -> None:
        if worker.process.returncode is None:
            worker.process.send_signal(number)

    def _environment(self) -> dict[str, str]:
        return dict(os.environ) | {METRICS_VARIABLE: self._metrics}
