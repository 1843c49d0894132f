"""The figures as tables for people and as JSON for scripts."""

import dataclasses
import os
import platform
from pathlib import Path
from typing import Any

import orjson
from rich.console import Console
from rich.table import Table

from tests.bench.figures import Figures, Idle, Pressed, Target, Used, Waited, targets
from tests.bench.processes import Cores

TOLERABLE_OTHERS = 15
"""Percent of the measured core; the kernel alone takes some for the network and the disk."""


def machine(directory: Path, cores: Cores) -> dict[str, Any]:
    """Describe what the figures were taken on; a busy machine or a file system in memory explains many of them."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "core_measured": cores.measured,
        "core_of_load": cores.others,
        "load_before": round(os.getloadavg()[0], 2),
        "file_system": _file_system(directory),
        "python": platform.python_version(),
    }


def print_machine(console: Console, about: dict[str, Any]) -> None:
    """Print where this runs, and what about it spoils the figures."""
    console.print(", ".join(f"{name.replace('_', ' ')}: {value}" for name, value in about.items()))
    if about["core_measured"] == about["core_of_load"]:
        console.print("There is one core alone: the load and what is measured take it from each other.")
    if about["file_system"] == "tmpfs":
        console.print("The ledger is in memory, where durable costs nothing: set TMPDIR to a disk.")


def print_figures(console: Console, figures: Figures) -> None:
    """Print everything that was measured, then the targets, then the faults."""
    if figures.pressed:
        console.print(_pressed_table(figures))
    if figures.waited:
        console.print(_waited_table(figures))
    if figures.idle is not None:
        console.print(f"\nidle: {figures.idle.started_mb:.0f} MB, {figures.idle.answered_mb:.0f} MB after one request")
    if rows := list(targets(figures)):
        console.print(_target_table(rows))
    if (others := figures.others()) > TOLERABLE_OTHERS:
        console.print(f"Other programs took up to {others:.0f} % of the measured core: compare CPU µs/request instead.")
    for fault in figures.faults():
        console.print(f"FAULT  {fault}")


def to_json(figures: Figures, about: dict[str, Any]) -> bytes:
    """Write everything; an infinite figure is null."""
    runs = [
        {**dataclasses.asdict(run), "requests_per_second": run.load.rate, **_added(figures, run)}
        for run in figures.pressed
    ]
    report = {
        "machine": about,
        "closed_loop": runs,
        "slow_upstream": figures.waited,
        "idle": figures.idle,
        "targets": list(targets(figures)),
        "faults": list(figures.faults()),
    }
    return orjson.dumps(report, option=orjson.OPT_INDENT_2) + b"\n"


def summary(run: Pressed | Waited | Idle) -> str:
    """Say what a run found in one line, while the others go on."""
    match run:
        case Pressed():
            return f"{run.scenario}, {run.system}, {run.connections} at once: {run.load.rate:,.0f} requests/s"
        case Waited():
            return f"slow upstream, {run.system}: {run.open_most:,} open, added p99 {run.added_p99_ms:.1f} ms"
        case Idle():
            return f"idle: {run.answered_mb:.0f} MB"


def _pressed_table(figures: Figures) -> Table:
    table = _table("Closed loop, one core", "what", "system", "conn.")
    _right(table, "requests/s", "p50 ms", "p99 ms", "added p50", "added p99", "errors", *_USED)
    group = None
    for run in figures.pressed:
        if group not in (None, (run.scenario, run.system)):
            table.add_row()
        group = (run.scenario, run.system)
        added = _added(figures, run)
        table.add_row(
            run.scenario,
            run.system,
            str(run.connections),
            f"{run.load.rate:,.0f}",
            f"{run.load.p50_ms:.2f}",
            f"{run.load.p99_ms:.2f}",
            _shown(added.get("added_p50_ms"), 2),
            _shown(added.get("added_p99_ms"), 2),
            str(run.load.errors),
            *_used(run.used),
        )
    return table


def _waited_table(figures: Figures) -> Table:
    first = figures.waited[0]
    table = _table(f"Slow upstream: {first.rate} calls a second of {first.each:g} s each, open loop", "system")
    _right(table, "calls", "open", "errors", "added p50 ms", "added p99", "added most", "sent late ms", *_USED)
    for run in figures.waited:
        figures_ms = (run.added_p50_ms, run.added_p99_ms, run.added_most_ms, run.sent_late_ms)
        table.add_row(
            run.system,
            f"{run.calls:,}",
            f"{run.open_most:,}",
            str(run.errors),
            *(f"{value:.1f}" for value in figures_ms),
            *_used(run.used),
        )
    return table


def _target_table(rows: list[Target]) -> Table:
    table = _table("Targets", "what")
    _right(table, "wanted", "found", "")
    for row in rows:
        table.add_row(row.what, row.wanted, row.found, "met" if row.met else "MISSED")
    return table


_USED = ("CPU µs/request", "peak MB", "others %", "stall ms")


def _used(used: Used | None) -> tuple[str, ...]:
    if used is None:
        return ("", "", "", "")
    stall = "" if used.stall_ms is None else f"≤ {used.stall_ms:g}"
    return (f"{used.cpu_us:,.0f}", f"{used.peak_mb:,.0f}", f"{used.others:.0f}", stall)


def _added(figures: Figures, run: Pressed) -> dict[str, float]:
    direct = figures.direct(run)
    if direct is None or run.system == "direct":
        return {}
    return {"added_p50_ms": run.load.p50_ms - direct.p50_ms, "added_p99_ms": run.load.p99_ms - direct.p99_ms}


def _shown(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:,.{digits}f}"


def _table(title: str, *columns: str) -> Table:
    table = Table(title=f"\n{title}", title_justify="left", box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, no_wrap=True)
    return table


def _right(table: Table, *columns: str) -> None:
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _file_system(directory: Path) -> str:
    """Return the type of the file system that a directory is on: that of the longest mount point above it."""
    mounts = [line.split() for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines()]
    above = [mount for mount in mounts if directory.resolve().is_relative_to(mount[1])]
    return max(above, key=lambda mount: len(mount[1]))[2] if above else "unknown"
