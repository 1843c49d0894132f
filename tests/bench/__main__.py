"""`make bench`, or `python -m tests.bench`: what the gateway adds to a request, beside nginx and direct calls.

The gateway has a core for itself; the load, upstream and this program share another. Everything is on loopback, on free
ports, in a temporary directory, and ends with the benchmark. The exit status is 1 if a request failed or a ledger does
not add up; a target that is missed is only printed, since the machine may be at fault.
"""

import argparse
import os
import resource
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console

from tests.bench import gateway, nginx, report, slow, tools
from tests.bench.figures import Figures
from tests.bench.open_loop import Plan
from tests.bench.processes import Cores
from tests.bench.scenarios import SCENARIOS, Bench

NAMES = (*SCENARIOS, "slow", "idle")
OPEN_FILES = 16_384
"""Each of the thousands of open generations has a connection on either side of the gateway."""


def main(arguments: Sequence[str]) -> int:
    """Measure, print, and return the exit status."""
    options = _options(arguments)
    tools.require()
    _allow_open_files()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that what was started is ended
    cores = Cores.available()
    os.sched_setaffinity(0, {cores.others})
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 200)
    with TemporaryDirectory(prefix="bench-") as name:
        directory = Path(name)
        about = report.machine(directory, cores)
        report.print_machine(console, about)
        figures = measure(directory, cores, options.only or NAMES, quick=options.quick)
    report.print_figures(console, figures)
    if options.json is not None:
        options.json.write_bytes(report.to_json(figures, about))
    return 1 if any(figures.faults()) else 0


def measure(directory: Path, cores: Cores, names: Sequence[str], *, quick: bool) -> Figures:
    """Measure what is named, in a fixed order; say on standard error how it goes."""
    progress = Console(stderr=True, highlight=False)
    plan = Plan(rate=200, each=10, steady=5 if quick else 30)
    template = gateway.prepare(directory / "template")
    figures = Figures()
    with (
        nginx.upstream(directory / "upstream", cores.others) as upstream,
        nginx.proxy(directory / "proxy", cores.measured, upstream) as proxy,
    ):
        connections = (1, 32) if quick else (1, 8, 32)
        bench = Bench(directory, cores, 1 if quick else 5, connections, template, upstream, proxy)
        chosen = [scenario for name, scenario in SCENARIOS.items() if name in names]
        runs = [bench.yardsticks(replied) for replied in dict.fromkeys(scenario.replied for scenario in chosen)]
        runs += [bench.scenario(scenario) for scenario in chosen]
        for run in (one for several in runs for one in several):
            progress.print(report.summary(run))
            figures = replace(figures, pressed=(*figures.pressed, run))
        if "idle" in names:
            figures = replace(figures, idle=bench.idle())
    if "slow" in names:
        alone = () if quick else (slow.alone(replace(plan, steady=5), directory, cores),)
        figures = replace(figures, waited=(*alone, slow.through_gateway(plan, directory, cores, template)))
        for waited in figures.waited:
            progress.print(report.summary(waited))
    return figures


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="Measure what the gateway adds.")
    parser.add_argument("--quick", action="store_true", help="a minute instead of four: shorter runs, rougher figures")
    parser.add_argument("--only", action="append", choices=NAMES, help="measure this alone; may be given several times")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to a file as well")
    return parser.parse_args(arguments)


def _allow_open_files() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if most == resource.RLIM_INFINITY else min(OPEN_FILES, most)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
