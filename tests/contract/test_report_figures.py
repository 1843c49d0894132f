"""How long a report takes: a month of a million generations (of 20,000 with small counts) in two seconds."""

import asyncio
import time
from collections.abc import Callable

import asyncpg
import pytest

from gateway.database import engine
from gateway.ledger.report import GROUPINGS, Question, Reports
from gateway.money import format_yuan
from tests.books import opened
from tests.many import FIRST, LAST, TENANTS, fill

SECONDS = 2.0


@pytest.mark.timeout(600)
@pytest.mark.alone
def test_a_months_report_takes_two_seconds(
    database_url: str, count: Callable[[int, int], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever it is grouped by, and on PostgreSQL before and after its housekeeping, a report is there in time."""
    rows = count(20_000, 1_000_000)
    monkeypatch.setattr(engine, "COMMAND_SECONDS", 300)

    async def story() -> None:
        async with opened(database_url) as database:
            await database.write(lambda sql: fill(sql, rows))
            reports = Reports(database)

            async def measure(when: str) -> None:
                took = {}
                for by in GROUPINGS:
                    begun = time.perf_counter()
                    found = await reports.spend(Question(by, FIRST, LAST))
                    took[by] = time.perf_counter() - begun
                    assert sum(row.settled for row in found) == rows * 97 // 100
                    assert sum(row.cost for row in found) == rows * 97 // 100 * 40_000
                begun = time.perf_counter()
                (own,) = await reports.spend(Question("tenant", FIRST, LAST, tenant_id="ten_3"))
                took_own = time.perf_counter() - begun
                assert own.settled + own.released + own.unknown == rows // TENANTS
                shown = ", ".join(f"{by} {seconds:.2f}" for by, seconds in took.items())
                print(f"{database.dialect} {when}, {rows} generations: {shown} s; one tenant's {took_own:.3f} s")
                print(f"  settled {format_yuan(sum(row.cost for row in found))} yuan, by {len(found)} users")
                assert max(*took.values(), took_own) <= SECONDS

            await measure("fresh")
            if database.dialect == "postgresql":
                connection = await asyncpg.connect(database_url)
                await connection.execute("VACUUM ANALYZE generations")
                await connection.close()
                await measure("vacuumed")

    asyncio.run(story())
