"""Programs run to be measured: each on its core, CPU time and memory read from /proc, ended by its own id."""

import os
import re
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path

PATIENCE_SECONDS = 30.0
SECONDS_TO_STOP = 60.0
TICKS = os.sysconf("SC_CLK_TCK")
"""Units of CPU time in a second, as /proc has it."""


@dataclass(frozen=True, slots=True)
class Cores:
    """`measured` is for the system under test alone, `others` for the load and the upstream."""

    measured: int
    others: int

    @classmethod
    def available(cls) -> "Cores":
        """Take the first two cores that this process may use; where there is one alone, all share it."""
        cores = sorted(os.sched_getaffinity(0))
        return cls(cores[0], cores[min(1, len(cores) - 1)])

    @property
    def shared(self) -> bool:
        """Whether the system under test has no core for itself."""
        return self.measured == self.others


class Running:
    """One program that runs."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self._process = process
        self._log = log

    def cpu_seconds(self) -> float:
        """Return the CPU time of all its threads since it started, to a hundredth of a second (proc_pid_stat(5))."""
        text = Path(f"/proc/{self._process.pid}/stat").read_text(encoding="ascii", errors="replace")
        after_name = text.rpartition(")")[2].split()
        return (int(after_name[11]) + int(after_name[12])) / TICKS

    def resident_mb(self) -> float:
        """Return its resident memory, in MB of 10^6 bytes."""
        return self._memory("VmRSS")

    def peak_mb(self) -> float:
        """Return the most resident memory that it ever had, in MB of 10^6 bytes."""
        return self._memory("VmHWM")

    def wait_for(self, condition: Callable[[], bool], what: str) -> None:
        """Wait until a condition holds. Raises RuntimeError, with the end of its log, if it ends or takes too long."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not condition():
            if self._process.poll() is not None or time.monotonic() > deadline:
                tail = self._log.read_text(encoding="utf-8", errors="replace")[-2000:]
                raise RuntimeError(f"waited in vain for {what}; the log ends:\n{tail}")
            time.sleep(0.02)

    def stop(self) -> int:
        """Ask it to end, insist after a while; return its exit status."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(SECONDS_TO_STOP)
            except subprocess.TimeoutExpired:
                self._process.kill()
        return self._process.wait()

    def _memory(self, name: str) -> float:
        status = Path(f"/proc/{self._process.pid}/status").read_text(encoding="ascii", errors="replace")
        found = re.search(rf"^{name}:\s+(\d+) kB$", status, re.MULTILINE)
        return 0.0 if found is None else int(found[1]) * 1024 / 1e6


@contextmanager
def running(command: Sequence[str | Path], core: int, log: Path, environ: Mapping[str, str]) -> Iterator[Running]:
    """Run a program on one core, with nothing but `environ` around it, until the block ends."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["taskset", "-c", str(core), *command],
            env={"PATH": os.environ["PATH"], **environ},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # an interrupt at the terminal reaches the benchmark alone, which then cleans up
        )
    started = Running(process, log)
    try:
        yield started
    finally:
        started.stop()


def free_ports(count: int) -> list[int]:
    """Find ports of loopback that nobody listens on now, all different."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [listener.getsockname()[1] for listener in sockets]
    finally:
        for listener in sockets:
            listener.close()


def get(port: int, path: str) -> tuple[int, bytes]:
    """Ask a server of loopback for something; return status and body. Raises OSError or HTTPException."""
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def answers(port: int, path: str) -> bool:
    """Tell whether a GET is answered with 200."""
    try:
        return get(port, path)[0] == 200
    except (OSError, HTTPException):
        return False
