"""What a run costs: CPU time of the system under test, its memory, and how much of its core others took from it."""

import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench.figures import Used
from tests.bench.processes import TICKS, Running


@dataclass(slots=True)
class Meter:
    """Measures a program from when the meter is made until it is read."""

    process: Running
    core: int
    _began: float = field(init=False)
    _cpu: float = field(init=False)
    _busy: float = field(init=False)

    def __post_init__(self) -> None:
        """Begin."""
        self._began, self._cpu, self._busy = time.monotonic(), self.process.cpu_seconds(), _busy_seconds(self.core)

    def read(self, requests: int, stall_ms: float | None = None) -> Used:
        """Return what was used since, given how many requests were answered meanwhile."""
        took, cpu = time.monotonic() - self._began, self.process.cpu_seconds() - self._cpu
        others = max(0.0, _busy_seconds(self.core) - self._busy - cpu) / took
        return Used(cpu * 1e6 / max(1, requests), self.process.peak_mb(), others * 100, stall_ms)


def _busy_seconds(core: int) -> float:
    """Return how long a core has worked for anybody: user, nice, system, irq, softirq, steal (proc_stat(5))."""
    for line in Path("/proc/stat").read_text(encoding="ascii").splitlines():
        name, *ticks = line.split()
        if name == f"cpu{core}":
            return sum(int(ticks[column]) for column in (0, 1, 2, 5, 6, 7)) / TICKS
    raise RuntimeError(f"/proc/stat has no core {core}")
