"""Several workers: a parent that holds the listening socket and the metrics port, and serves no request itself.

It starts a worker anew when one dies, and replaces them one by one on SIGHUP: a new one takes requests before an old
one leaves. Draining and leaving are different ends (see `life.py`), which is why neither uvicorn's supervisor nor
gunicorn's serves here: both have but one signal for the two.
"""

import asyncio
import os
import signal
import socket
import sys
from dataclasses import dataclass

import structlog

from gateway.worker_metrics import VARIABLE, WorkerMetrics

RESTART_SECONDS = 1.0
START_SECONDS = 60.0


@dataclass(slots=True)
class Worker:
    """One worker process. One that was wanted and took requests is started anew when it dies."""

    process: asyncio.subprocess.Process
    wanted: bool = True
    ready: bool = False


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
        self.metrics = WorkerMetrics()
        # Nobody ever writes: workers read the end of it when the parent is gone, however it went.
        self._alive, self._living = os.pipe()

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
            self.metrics.close()
            os.close(self._alive)
            os.close(self._living)
        self._log.info("stopped")
        return 1 if self._failed else 0

    def stop(self) -> None:
        """Let every worker drain; asked a second time, hurry."""
        self._stopping.set()
        for worker in self._workers:
            self._dismiss(worker, signal.SIGTERM)

    def replace(self) -> None:
        """Replace the workers one by one."""
        if self._replacing is None and not self._stopping.is_set():
            self._replacing = asyncio.create_task(self._replace(), name="replace workers")
        else:
            self._log.warning("SIGHUP is ignored: workers are being replaced, or stopped, already")

    async def _start_all(self) -> bool:
        """Start the workers one by one; return whether all take requests. One that was stopped on the way does not."""
        for _ in range(self._count):
            if self._stopping.is_set() or not await self._start():
                return False
        return True

    async def _replace(self) -> None:
        try:
            for old in list(self._workers):
                if old not in self._workers:
                    continue  # it died meanwhile, and has a successor
                if self._stopping.is_set() or not await self._start():
                    self._log.error("workers are not replaced: the old ones stay")
                    return
                self._dismiss(old, signal.SIGUSR1)
                await old.process.wait()
            self._log.info("workers replaced")
        finally:
            self._replacing = None

    async def _start(self) -> bool:
        """Start a worker; return whether it came to take requests. One that does not is not left behind."""
        reading, writing = os.pipe()
        try:
            files = (self._listener.fileno(), writing, self._alive)
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "gateway",
                "worker",
                *map(str, files),
                pass_fds=(*files, self.metrics.lock),
                env=self._environment(),
                # A terminal's signals are for the parent alone.
                start_new_session=True,
            )
        except OSError as error:
            self._log.error("worker cannot be started", reason=str(error))
            os.close(reading)
            return False
        finally:
            os.close(writing)
        worker = Worker(process)
        self._workers.append(worker)
        watch = asyncio.create_task(self._watch(worker), name="watch worker")
        self._watches.add(watch)
        watch.add_done_callback(self._watches.discard)
        if self._stopping.is_set():  # while the process was being made: `stop` has not seen it
            self._dismiss(worker, signal.SIGTERM)
        worker.ready = await self._hear(reading)
        if not worker.ready:
            self._dismiss(worker, signal.SIGTERM)
        return worker.ready

    @staticmethod
    async def _hear(reading: int) -> bool:
        """Wait for a worker's word that it takes requests; its end, or silence for too long, is none."""
        loop, heard = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(reading, heard.set)
        try:
            await asyncio.wait_for(heard.wait(), START_SECONDS)
            return os.read(reading, 1) == b"."
        except TimeoutError:
            return False
        finally:
            loop.remove_reader(reading)
            os.close(reading)

    async def _watch(self, worker: Worker) -> None:
        """Wait for a worker's end, take it out of the metrics, and start another in its place if it was wanted."""
        status = await worker.process.wait()
        self.metrics.bury(worker.process.pid)
        self._workers.remove(worker)
        if not worker.wanted or not worker.ready:
            return
        self._log.error("worker died", pid=worker.process.pid, status=status)
        while not self._stopping.is_set():
            await asyncio.sleep(RESTART_SECONDS)
            enough = sum(one.wanted for one in self._workers) >= self._count
            if enough or self._stopping.is_set() or await self._start():
                return

    def _dismiss(self, worker: Worker, number: signal.Signals) -> None:
        worker.wanted = False
        if worker.process.returncode is None:
            worker.process.send_signal(number)

    def _environment(self) -> dict[str, str]:
        return dict(os.environ) | {VARIABLE: str(self.metrics.directory)}
