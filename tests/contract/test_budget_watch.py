"""Budgets are shown as the ledger has them, on SQLite and on PostgreSQL, and said in the log when they fill up."""

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from zoneinfo import ZoneInfo

import pytest
from orjson import loads
from prometheus_client import CollectorRegistry
from sqlalchemy import select
from structlog.testing import capture_logs

from gateway import clock
from gateway.clock import Calendar
from gateway.database.engine import Database
from gateway.database.tables import webhook_events
from gateway.errors import LedgerUnavailable
from gateway.flow import budget_watch
from gateway.flow.budget_watch import BudgetWatch
from gateway.ledger import gauges
from gateway.ledger.bill import Bill
from gateway.ledger.processes import goodbye, heartbeat
from gateway.ledger.records import Abandonment, Admitted
from gateway.ledger.reserve import reserve
from gateway.ledger.settle import abandon, settle
from gateway.metrics import TENANTS_NAMED, Metrics
from gateway.tenants.administration import Administration
from gateway.tenants.keys import Pepper
from gateway.webhooks.outbox import list_events
from tests.books import YUAN, opened, reservation, settlement

ADMIN = Administration("ann", Pepper([b"pepper" * 6]), frozenset())
CALENDAR = Calendar(ZoneInfo("Asia/Shanghai"))


@dataclass(frozen=True, slots=True)
class Watched:
    """A database and a watch over it."""

    database: Database
    metrics: Metrics
    watch: BudgetWatch

    async def tenant(self, name: str, **policy: object) -> str:
        tenant = await self.database.write(lambda sql: ADMIN.create_tenant(sql, name, policy))
        return tenant.id

    async def hold(self, tenant: str, quote: int) -> None:
        """Leave a generation of today without an outcome."""
        asked = reservation(tenant, quote, day=CALENDAR.day(clock.now()))
        lost = Abandonment(asked.id, tenant, "lost")
        assert await self.database.write(lambda sql: reserve(sql, "proc_1", [asked])) == [Admitted()]
        await self.database.write(lambda sql: abandon(sql, [lost]))

    async def spend(self, tenant: str, cost: int) -> None:
        """Settle a generation of today."""
        asked = reservation(tenant, cost, day=CALENDAR.day(clock.now()))
        await self.database.write(lambda sql: reserve(sql, "proc_1", [asked]))
        await self.database.write(lambda sql: settle(sql, [settlement(asked, cost)]))

    async def warnings(self) -> list[tuple[str, str, int]]:
        """Look once; return the thresholds that the log names: tenant, window, percent."""
        with capture_logs() as logs:
            await self.watch.look()
        return [(line["tenant"], line["window"], line["percent"]) for line in logs]

    def gauges(self, tenant: str, window: str) -> tuple[float | None, ...]:
        """Return limit, spent and held, in yuan."""
        names = (f"gateway_budget_{name}_yuan" for name in ("limit", "spent", "held"))
        labels = {"tenant": tenant, "window": window}
        return tuple(self.metrics.registry.get_sample_value(name, labels) for name in names)


@asynccontextmanager
async def watched(url: str) -> AsyncIterator[Watched]:
    async with opened(url) as database:
        metrics = Metrics(CollectorRegistry())
        yield Watched(database, metrics, BudgetWatch("proc_1", database, CALENDAR, metrics))


def test_gauges_show_what_the_ledger_has(database_url: str) -> None:
    """Limit, spent and held of each limited window; a limit that was taken away is infinite; unknown ones counted."""

    async def story() -> None:
        async with watched(database_url) as one:
            tenant = await one.tenant("shop", budget_day="10", budget_total="20")
            await one.tenant("free")
            await one.spend(tenant, YUAN)
            await one.hold(tenant, 2 * YUAN)
            await one.watch.look()
            assert one.gauges("shop", "day") == (10, 1, 2)
            assert one.gauges("shop", "total") == (20, 1, 2)
            assert one.gauges("shop", "month") == one.gauges("free", "day") == (None, None, None)
            assert one.metrics.registry.get_sample_value("gateway_generations_unknown") == 1
            await one.database.write(lambda sql: ADMIN.update_tenant(sql, "shop", {"budget_day": None}))
            await one.watch.look()
            assert one.gauges("shop", "day") == (math.inf, 0, 0)

    asyncio.run(story())


def test_drifting_prices_are_shown(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bill / quote of the newest that upstream billed, by model; what it named no cost of says nothing."""
    monkeypatch.setattr(gauges, "DRIFT_OF", 4)

    async def story() -> None:
        async with watched(database_url) as one:
            tenant = await one.tenant("shop")

            async def bought(model: str, quote: int, cost: int, kind: str = "exact") -> None:
                asked = replace(reservation(tenant, quote), model=model)
                ended = replace(settlement(asked, cost), bill=Bill(kind, cost))  # type: ignore[arg-type]  # it is one
                await one.database.write(lambda sql: (reserve(sql, "proc_1", [asked]), settle(sql, [ended])))

            def ratio(model: str) -> float | None:
                return one.metrics.registry.get_sample_value("gateway_price_drift_ratio", {"model": model})

            await bought("old", 100, 900)
            await bought("dear", 100, 110)
            await bought("dear", 200, 250)
            await bought("cheap", 100, 80)
            await bought("cheap", 100, 100, "quoted")
            await one.watch.look()
            assert (ratio("dear"), ratio("cheap"), ratio("old")) == (1.2, 0.8, None)
            for cost in (100, 100, 100, 100):
                await bought("dear", 100, cost)
            await one.watch.look()
            assert (ratio("dear"), ratio("cheap")) == (1.0, 0.8), "what is not sold any more keeps its last value"

    asyncio.run(story())


def test_each_threshold_is_said_once(database_url: str) -> None:
    """80 % and 100 % of a window, spent and held together, are one line of the log each, however often it is read."""

    async def story() -> None:
        async with watched(database_url) as one:
            shop = await one.tenant("shop", budget_day="1", budget_month="100")
            other = await one.tenant("other", budget_total="1")
            assert await one.warnings() == []
            await one.spend(shop, 790_000)
            assert await one.warnings() == []
            await one.hold(shop, 10_000)
            assert await one.warnings() == [("shop", "day", 80)]
            assert await one.warnings() == []
            await one.spend(shop, 200_000)
            await one.spend(other, YUAN)
            said = await one.warnings()
            assert said == [("other", "total", 80), ("other", "total", 100), ("shop", "day", 100)]
            assert await one.warnings() == []

    asyncio.run(story())


def test_tomorrows_window_is_another(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was said of a day is said anew of the next; a total is not."""

    async def story() -> None:
        async with watched(database_url) as one:
            shop = await one.tenant("shop", budget_day="1", budget_total="1")
            await one.spend(shop, YUAN)
            assert len(await one.warnings()) == 4
            tomorrow = CALENDAR.next_day(clock.now())
            monkeypatch.setattr(clock, "now", lambda: tomorrow)
            assert await one.warnings() == []
            assert one.gauges("shop", "day") == (1, 0, 0)
            await one.spend(shop, YUAN)
            assert await one.warnings() == [("shop", "day", 80), ("shop", "day", 100)]

    asyncio.run(story())


def test_of_several_processes_the_eldest_speaks(database_url: str) -> None:
    """A threshold is said by one process; whoever takes over from it repeats nothing, and says what comes next."""

    async def story() -> None:
        async with watched(database_url) as eldest:
            second = Watched(
                eldest.database, eldest.metrics, BudgetWatch("proc_2", eldest.database, CALENDAR, eldest.metrics)
            )
            moment = clock.now()
            for name, started in (("proc_2", moment + 1), ("proc_1", moment)):
                await eldest.database.write(partial(heartbeat, process_id=name, moment=started))
            shop = await eldest.tenant("shop", budget_day="1")
            await eldest.spend(shop, 800_000)
            assert await second.warnings() == []
            assert await eldest.warnings() == [("shop", "day", 80)]
            await eldest.database.write(lambda sql: goodbye(sql, "proc_1"))
            assert await second.warnings() == []
            await eldest.spend(shop, 200_000)
            assert await second.warnings() == [("shop", "day", 100)]

    asyncio.run(story())


def test_tenants_with_a_webhook_are_told_once(database_url: str) -> None:
    """Of each window and threshold, whichever process notices, after a restart too; the next day's are others."""

    async def story() -> None:
        async with watched(database_url) as one:
            shop = await one.tenant("shop", budget_day="1", webhook_url="https://hooks.example/")
            await one.spend(await one.tenant("silent", budget_day="1"), YUAN)
            await one.spend(shop, 800_000)
            for name in ("proc_1", "proc_2"):
                await BudgetWatch(name, one.database, CALENDAR, one.metrics).look()
            await one.watch.look()
            await one.hold(shop, 200_000)
            await one.watch.look()
            await one.watch.look()
            events = await one.database.read(list_events)
            bodies = await one.database.read(lambda sql: sql.scalars(select(webhook_events.c.body)).all())
            told = [(body["type"], body["data"]["percent"], body["data"]["held_yuan"]) for body in map(loads, bodies)]
            assert {event.tenant for event in events} == {"shop"}
            assert sorted(told) == [
                ("budget.threshold", 80, "0.000000"),
                ("budget.threshold", 100, "0.200000"),
            ]

    asyncio.run(story())


def test_tenants_without_a_label_of_their_own_are_added_up(database_url: str) -> None:
    """Beyond the bound, budgets are summed under `other`; the log names each tenant all the same."""

    async def story() -> None:
        async with watched(database_url) as one:
            early = [f"early-{number}" for number in range(TENANTS_NAMED)]
            await one.database.write(lambda sql: [ADMIN.create_tenant(sql, name, {}) for name in early])
            for name, cost in (("a", 1), ("b", 2)):
                await one.spend(await one.tenant(name, budget_day="2"), cost * YUAN)
            assert await one.warnings() == [("b", "day", 80), ("b", "day", 100)]
            assert one.gauges("other", "day") == (4, 3, 0)

    asyncio.run(story())


def test_an_outage_is_waited_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """With SQL away the watch goes on and says so; it ends by being cancelled alone."""

    class Away:
        dialect = "sqlite"

        def __init__(self) -> None:
            self.reads = 0
            self.thrice = asyncio.Event()

        async def read(self, _work: object) -> object:
            self.reads += 1
            if self.reads == 3:
                self.thrice.set()
            raise LedgerUnavailable(detail="cut off")

        write = read

        async def close(self) -> None:
            """Nothing to close."""

    async def story() -> None:
        database = Away()
        metrics = Metrics(CollectorRegistry())
        watch = BudgetWatch("proc_1", database, CALENDAR, metrics)  # type: ignore[arg-type]  # it fails whatever is asked
        running = asyncio.create_task(watch.run())
        async with asyncio.timeout(5):
            await database.thrice.wait()
        assert not running.done()
        running.cancel()
        await asyncio.wait([running])
        assert running.cancelled()

    monkeypatch.setattr(budget_watch, "INTERVAL_SECONDS", 0.0)
    asyncio.run(story())
