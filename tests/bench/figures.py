"""What is measured, in the units it is printed in, and what it is held against."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from tests.bench.closed_loop import Load
from tests.bench.nginx import Replied

System: TypeAlias = Literal["direct", "nginx", "gateway"]


@dataclass(frozen=True, slots=True)
class Used:
    """What a system used during a run.

    `cpu_us` is the CPU time of a request in microseconds: more telling than requests/s where the machine is shared.
    `others` is the percentage of its core that other programs took meanwhile (the kernel's work for it is in there).
    `stall_ms` is the bucket of the longest stall of the gateway's event loop: it was at most so long.
    """

    cpu_us: float
    peak_mb: float
    others: float
    stall_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Pressed:
    """One closed-loop run of one system. `scenario` is what the gateway did, or which reply the others passed on."""

    scenario: str
    system: System
    replied: Replied
    connections: int
    load: Load
    used: Used | None = None
    faults: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Waited:
    """One open-loop run against the slow upstream. Added is to the time that upstream takes."""

    system: System
    rate: int
    each: float
    steady: float
    calls: int
    errors: int
    open_most: int
    added_p50_ms: float
    added_p99_ms: float
    added_most_ms: float
    sent_late_ms: float
    """The longest time that the load generator itself was behind; it is in the added time as well."""
    used: Used | None = None
    faults: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Idle:
    """Resident memory after start and after one request."""

    started_mb: float
    answered_mb: float


@dataclass(frozen=True, slots=True)
class Figures:
    """Everything that one run of the benchmark found."""

    pressed: Sequence[Pressed] = ()
    waited: Sequence[Waited] = ()
    idle: Idle | None = None

    def direct(self, run: Pressed) -> Load | None:
        """Return what the same load saw without anything in between."""
        for other in self.pressed:
            if (other.system, other.replied, other.connections) == ("direct", run.replied, run.connections):
                return other.load
        return None

    def others(self) -> float:
        """Return the most, in percent, that other programs took of the measured core during a run."""
        used = [*(run.used for run in self.pressed), *(run.used for run in self.waited)]
        return max((one.others for one in used if one is not None), default=0.0)

    def faults(self) -> Iterator[str]:
        """Say everything that went wrong, whatever the speed."""
        for pressed in self.pressed:
            name = f"{pressed.scenario}, {pressed.system}, {pressed.connections} at once"
            yield from (f"{name}: {fault}" for fault in pressed.faults)
            if pressed.load.errors:
                yield f"{name}: {pressed.load.errors} errors"
        for waited in self.waited:
            yield from (f"slow upstream, {waited.system}: {fault}" for fault in waited.faults)
            if waited.errors:
                yield f"slow upstream, {waited.system}: {waited.errors} errors"


@dataclass(frozen=True, slots=True)
class Target:
    """One figure that the gateway is held to."""

    what: str
    wanted: str
    found: str
    met: bool


_RATES = {
    "pass on": 1400,
    "fetch and keep": 400,
    "cached hit": 4000,
    "decode and keep": 120,
    "decode and keep in S3": 60,
}
"""The least that 32 connections are to be answered in a second, by the scenario."""


def targets(figures: Figures) -> Iterator[Target]:
    """Hold the figures against the targets, as far as they were measured."""
    at_32 = {run.scenario: run.load.rate for run in figures.pressed if (run.system, run.connections) == ("gateway", 32)}
    alone = {run.scenario: run for run in figures.pressed if (run.system, run.connections) == ("gateway", 1)}
    for scenario, least in _RATES.items():
        if (rate := at_32.get(scenario)) is not None:
            yield Target(f"{scenario}, 32 connections", f"≥ {least:,}/s", f"{rate:,.0f}/s", met=rate >= least)
    yield from _large(figures)
    if "pass on" in at_32 and "pass on, no limits" in at_32:
        share = at_32["pass on"] / at_32["pass on, no limits"]
        yield Target("pass on, rate of that without limits", "≥ 85 %", f"{share:.0%}", met=share >= 0.85)
    if (run := alone.get("pass on")) is not None:
        direct = figures.direct(run)
        added = math.inf if direct is None else run.load.p50_ms - direct.p50_ms
        yield Target("pass on, 1 connection, added p50", "≤ 2 ms", f"{added:.2f} ms", met=added <= 2)
    if (run := alone.get("cached hit")) is not None:
        p50 = run.load.p50_ms
        yield Target("cached hit, 1 connection, p50", "≤ 1 ms", f"{p50:.2f} ms", met=p50 <= 1)
    for slow in figures.waited:
        if slow.system == "gateway":
            yield from _slow(slow)
    if figures.idle is not None:
        memory = figures.idle.answered_mb
        yield Target("idle, resident memory", "≤ 120 MB", f"{memory:.0f} MB", met=memory <= 120)


def _large(figures: Figures) -> Iterator[Target]:
    for run in figures.pressed:
        if (run.system, run.replied, run.connections) != ("gateway", "base64", 32) or run.used is None:
            continue
        what, peak, stall = f"{run.scenario}, 32 connections", run.used.peak_mb, run.used.stall_ms
        yield Target(f"{what}, peak memory", "≤ 250 MB", f"{peak:.0f} MB", met=peak <= 250)
        if stall is not None:
            yield Target(f"{what}, longest stall", "≤ 20 ms", f"≤ {stall:g} ms", met=stall <= 20)


def _slow(slow: Waited) -> Iterator[Target]:
    yield Target("slow upstream, open at once", "≥ 2,000", f"{slow.open_most:,}", met=slow.open_most >= 2000)
    yield Target("slow upstream, errors", "0", str(slow.errors), met=slow.errors == 0)
    p99, stall = slow.added_p99_ms, None if slow.used is None else slow.used.stall_ms
    yield Target("slow upstream, added p99", "≤ 100 ms", f"{p99:.1f} ms", met=p99 <= 100)
    if stall is not None:
        yield Target("slow upstream, longest stall", "≤ 100 ms", f"≤ {stall:.0f} ms", met=stall <= 100)
