"""Thousands of generations that take seconds each, all open at once: the slow upstream, and the gateway before it."""

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import uvloop

from tests.bench import ledger
from tests.bench.figures import System, Used, Waited
from tests.bench.gateway import Gateway, Template, serving
from tests.bench.meter import Meter
from tests.bench.open_loop import Flood, Plan, percentile
from tests.bench.processes import Cores, answers, free_ports, get, running


def alone(plan: Plan, directory: Path, cores: Cores) -> Waited:
    """Measure the load generator and the slow upstream without anything in between."""
    flood = Flood(plan)
    with _slow_upstream(plan, directory, cores) as upstream:
        uvloop.run(flood.run(upstream.url, "none"))
    return _waited("direct", flood, None, ())


def through_gateway(plan: Plan, directory: Path, cores: Cores, template: Template) -> Waited:
    """Measure them with the gateway in between. Nothing is kept; every generation is in the durable ledger."""
    flood = Flood(plan)
    nothing_kept = {"GATEWAY_STORAGE_URL": "none"}
    with (
        _slow_upstream(plan, directory, cores) as upstream,
        serving(template, directory / "gateway", cores.measured, upstream.url, nothing_kept) as gateway,
    ):
        used = uvloop.run(_flood_and_watch(flood, gateway, cores.measured))
        status = gateway.process.stop()
        faults = ledger.read(gateway.data).faults(upstream.asked(), plan.calls - flood.errors.total())
    if status != 0:
        faults = (*faults, f"the gateway's exit status is {status}")
    return _waited("gateway", flood, used, faults)


async def _flood_and_watch(flood: Flood, gateway: Gateway, core: int) -> Used:
    """Let the calls come; look at the gateway while as many are answered as are asked."""
    plan = flood.plan

    async def watch() -> Used:
        await asyncio.sleep(plan.each)
        stalls, meter = await asyncio.to_thread(gateway.stalls), Meter(gateway.process, core)
        await asyncio.sleep(plan.steady)
        later = await asyncio.to_thread(gateway.stalls)
        return meter.read(round(plan.rate * plan.steady), later.longest_ms_since(stalls))

    watching = asyncio.create_task(watch())
    await flood.run(gateway.url, gateway.key)
    return await watching


def _waited(system: System, flood: Flood, used: Used | None, faults: tuple[str, ...]) -> Waited:
    if flood.errors:
        faults = (*faults, ", ".join(f"{count} × {kind}" for kind, count in flood.errors.items()))
    return Waited(
        system=system,
        rate=flood.plan.rate,
        each=flood.plan.each,
        steady=flood.plan.steady,
        calls=flood.plan.calls,
        errors=flood.errors.total(),
        open_most=flood.open_most,
        added_p50_ms=percentile(flood.added, 50) * 1000,
        added_p99_ms=percentile(flood.added, 99) * 1000,
        added_most_ms=percentile(flood.added, 100) * 1000,
        sent_late_ms=flood.sent_late * 1000,
        used=used,
        faults=faults,
    )


@dataclass(frozen=True, slots=True)
class _SlowUpstream:
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def asked(self) -> int:
        """Return how many generations it has been asked for."""
        return int(get(self.port, "/count")[1])


@contextmanager
def _slow_upstream(plan: Plan, directory: Path, cores: Cores) -> Iterator[_SlowUpstream]:
    (port,) = free_ports(1)
    command = (sys.executable, "-m", "tests.bench.slow_upstream", str(port), str(plan.each))
    with running(command, cores.others, directory / "slow_upstream.log", {}) as process:
        process.wait_for(lambda: answers(port, "/count"), "the slow upstream")
        yield _SlowUpstream(port)
