"""What an operator settles is counted as cost, once, whichever process it was done in; on SQLite and on PostgreSQL."""

import asyncio
from pathlib import Path

from prometheus_client import CollectorRegistry

from gateway import clock
from gateway.database.engine import Database
from gateway.flow.decided_watch import DecidedWatch
from gateway.ledger.bill import FREE, Bill
from gateway.ledger.ledger import Ledger
from gateway.ledger.processes import goodbye, heartbeat
from gateway.ledger.records import Abandonment
from gateway.ledger.unknown import decide_one, settle_overdue
from gateway.metrics import Metrics
from tests.books import YUAN, add_tenant, open_ledger, opened, reservation


async def watch(database: Database, process: str) -> DecidedWatch:
    """Give the watch of a process that lives."""
    await database.write(lambda sql: heartbeat(sql, process, clock.now()))
    return DecidedWatch(process, database, Metrics(CollectorRegistry()))


async def counted(*watches: DecidedWatch) -> list[float]:
    """Let each look; return the cost that each has counted."""
    for one in watches:
        await one.look()
    families = [one.metrics.registry.collect() for one in watches]
    return [
        sum(sample.value for family in each for sample in family.samples if sample.name == "gateway_cost_yuan_total")
        for each in families
    ]


async def lost(ledger: Ledger, tenant: str) -> str:
    """Leave a generation of 2 yuan without an outcome; return its id."""
    asked = reservation(tenant, 2 * YUAN)
    await ledger.reserve(asked)
    await ledger.abandon(Abandonment(asked.id, tenant, "silence"))
    return asked.id


def test_decisions_are_counted_once(database_url: str, tmp_path: Path) -> None:
    """Of two processes the eldest counts, each decision once; with it gone the other counts what comes after."""

    async def story() -> None:
        async with opened(database_url) as database:
            ledger, tenant = open_ledger(database, tmp_path), await database.write(add_tenant)

            async def decide(bill: Bill) -> None:
                generation = await lost(ledger, tenant)
                await database.write(lambda sql: decide_one(sql, generation, bill, by="ann"))

            await decide(Bill("exact", YUAN))
            decided_at = clock.now()
            while clock.now() == decided_at:  # noqa: ASYNC110 -- a clock has no event
                await asyncio.sleep(0)
            elder, younger = await watch(database, "prc_1"), await watch(database, "prc_2")
            assert await counted(elder, younger) == [0, 0], "it was before they began"
            await decide(Bill("exact", YUAN))
            await decide(FREE)
            assert await counted(elder, younger) == [1, 0]
            await lost(ledger, tenant)
            assert await database.write(lambda sql: settle_overdue(sql, clock.now(), clock.now())) == 1
            assert await counted(elder, younger) == await counted(elder, younger) == [3, 0]
            await database.write(lambda sql: goodbye(sql, "prc_1"))
            await decide(Bill("exact", 5 * YUAN))
            assert await counted(elder, younger) == [3, 5]

    asyncio.run(story())
