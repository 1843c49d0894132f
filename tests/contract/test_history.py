"""A tenant's history on SQLite and on PostgreSQL: by the moment of the reservation, and fast however far back."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import asyncpg
import pytest

from gateway.database import engine
from gateway.ids import least_id
from gateway.ledger.history import Chosen, history
from gateway.ledger.reserve import reserve
from tests.books import MOMENT, add_tenant, opened, reservation
from tests.many import BEGINS, MONTH_MS, fill

SECONDS = 0.05


def test_a_range_is_of_reservations(database_url: str) -> None:
    """What came before midnight and had to wait counts as reserved after it; both ends are exact."""

    async def story() -> None:
        async with opened(database_url) as database:
            tenant = await database.write(add_tenant)
            waited = reservation(tenant, created_at=MOMENT)
            waited = replace(waited, id=f"{least_id('gen', MOMENT - 600_000)}{'0' * 20}")
            last = reservation(tenant, created_at=MOMENT + 9)
            last = replace(last, id=f"{least_id('gen', MOMENT + 9)}{'0' * 20}")
            await database.write(lambda sql: reserve(sql, "proc_1", [waited, last]))

            async def found(since: int | None, until: int | None) -> list[str]:
                page, more = await database.read(lambda sql: history(sql, Chosen(tenant, since, until)))
                assert not more
                return [one.id for one in page]

            assert await found(None, None) == await found(MOMENT, MOMENT + 10) == [last.id, waited.id]
            assert await found(MOMENT + 1, None) == [last.id]
            assert await found(None, MOMENT + 9) == [waited.id]
            assert await found(MOMENT - 600_000, MOMENT) == []

    asyncio.run(story())


@pytest.mark.timeout(600)
@pytest.mark.alone
def test_a_page_takes_fifty_milliseconds(
    database_url: str, count: Callable[[int, int], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first page, one from the middle, the oldest, and what is rare or not there at all."""
    rows = count(20_000, 1_000_000)
    monkeypatch.setattr(engine, "COMMAND_SECONDS", 300)
    middle = BEGINS + MONTH_MS // 2
    pages = {
        "newest": Chosen("ten_3"),
        "middle": Chosen("ten_3", after=least_id("gen", middle)),
        "oldest": Chosen("ten_3", until=BEGINS + MONTH_MS // 100),
        "of a model": Chosen("ten_3", model="model-5", until=middle),
        "settled": Chosen("ten_3", state="settled"),
        "of no such model": Chosen("ten_3", model="nothing"),
        "in a state that none is in": Chosen("ten_3", state="reserved"),
        "of a model, in such a state": Chosen("ten_3", model="model-5", state="reserved"),
        "of nobody": Chosen("ten_nobody"),
    }

    async def story() -> None:
        async with opened(database_url) as database:
            await database.write(lambda sql: fill(sql, rows))

            async def measure(when: str) -> None:
                took = {}
                for name, chosen in pages.items():
                    begun = time.perf_counter()
                    found, _ = await database.read(partial(history, chosen=chosen))
                    took[name] = time.perf_counter() - begun
                    assert bool(found) == (name in ("newest", "middle", "oldest", "of a model", "settled"))
                shown = ", ".join(f"{name} {seconds * 1000:.1f}" for name, seconds in took.items())
                print(f"{database.dialect} {when}, {rows} generations: {shown} ms a page of 100")
                assert max(took.values()) <= SECONDS

            await database.read(lambda sql: history(sql, pages["newest"]))  # the first connection
            await measure("fresh")
            if database.dialect == "postgresql":
                connection = await asyncpg.connect(database_url)
                await connection.execute("VACUUM ANALYZE generations")
                await connection.close()
                await measure("vacuumed")

    asyncio.run(story())
