"""What was saved is added up across processes and outages, on SQLite and on PostgreSQL."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Connection, select

from gateway.database.engine import Database
from gateway.database.tables import savings as table
from gateway.errors import LedgerUnavailable
from gateway.ledger import savings
from gateway.ledger.savings import Savings, Whose
from tests.books import DAY, add_tenant, opened

PROCESSES = 4


def whose(tenant: str, **others: str) -> Whose:
    """Name a row."""
    return Whose(**({"day": DAY, "tenant_id": tenant, "model": "m", "provider": "p", "key_id": "k"} | others))


def rows(connection: Connection) -> list[tuple[Any, ...]]:
    """Return user, hits, collapsed, replayed and saved of each row."""
    row = table.c
    query = select(row.end_user, row.hits, row.collapsed, row.replayed, row.saved).order_by(row.end_user)
    return [tuple(one) for one in connection.execute(query)]


def test_processes_add_to_the_same_rows(database_url: str) -> None:
    """However many processes count at once and in whatever order, every reply is counted once."""

    async def story() -> None:
        async with opened(database_url) as database:
            tenant = await database.write(add_tenant)
            users = ["", *map(str, range(9))]

            async def process(number: int) -> None:
                one = Savings(database)
                for _ in range(3):
                    for user in users if number % 2 else reversed(users):
                        one.count(whose(tenant, end_user=user), "hits", 40_000)
                    one.count(whose(tenant), "replayed")
                    one.count(whose(tenant), "collapsed", 2)
                    await one.flush()
                await one.close()

            await asyncio.gather(*map(process, range(PROCESSES)))
            each = 3 * PROCESSES
            assert await database.read(rows) == [
                ("", each, each, each, each * 40_002),
                *((user, each, 0, 0, each * 40_000) for user in users[1:]),
            ]

    asyncio.run(story())


class Failing:
    """A database whose next writes fail, before or after they are done."""

    dialect = "sqlite"

    def __init__(self, database: Database, *failures: LedgerUnavailable | ValueError) -> None:
        self.database = database
        self.failures = list(failures)

    async def write(self, work: Callable[[Connection], Any]) -> Any:
        failure = self.failures.pop(0) if self.failures else None
        if isinstance(failure, LedgerUnavailable) and failure.perhaps_done:
            await self.database.write(work)
        if failure is not None:
            raise failure
        return await self.database.write(work)

    async def read(self, work: Callable[[Connection], Any]) -> Any:
        return await self.database.read(work)

    async def close(self) -> None:
        """Nothing to close."""


def test_an_outage_loses_nothing_and_counts_nothing_twice(database_url: str) -> None:
    """What SQL did not take is kept; what it may have taken is not sent again."""

    async def story() -> None:
        async with opened(database_url) as database:
            tenant = await database.write(add_tenant)
            away, perhaps = LedgerUnavailable(), LedgerUnavailable()
            perhaps.perhaps_done = True
            one = Savings(Failing(database, away, perhaps))
            for saved in (1, 2):
                one.count(whose(tenant), "hits", saved)
                with pytest.raises(LedgerUnavailable):
                    await one.flush()
            assert await database.read(rows) == [("", 2, 0, 0, 3)]
            one.count(whose(tenant), "hits", 4)
            await one.close()
            assert await database.read(rows) == [("", 3, 0, 0, 7)]

    asyncio.run(story())


def test_counting_goes_on_whatever_sql_says(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The work beside the requests ends by being cancelled alone, and writes by itself."""
    monkeypatch.setattr(savings, "FLUSH_SECONDS", 0.01)

    async def story() -> None:
        async with opened(database_url) as database:
            tenant = await database.write(add_tenant)
            failing = Failing(database, LedgerUnavailable(detail="cut off"), ValueError("a row that is none"))
            one = Savings(failing)
            running = asyncio.create_task(one.run())
            async with asyncio.timeout(10):
                while failing.failures or not await database.read(rows):
                    one.count(whose(tenant), "hits")
                    await asyncio.sleep(0.01)
            assert not running.done()
            running.cancel()
            await asyncio.wait([running])
            await one.close()

    asyncio.run(story())


def test_stopping_in_the_middle_of_writing_writes_once(database_url: str) -> None:
    """A caller that is cancelled while it flushes neither stops the writing nor has it done again."""

    async def story() -> None:
        async with opened(database_url) as database:
            tenant = await database.write(add_tenant)
            one = Savings(database)
            one.count(whose(tenant), "hits", 5)
            flushing = asyncio.create_task(one.flush())
            await asyncio.sleep(0)
            flushing.cancel()
            one.count(whose(tenant), "hits", 6)
            await one.close()
            assert flushing.cancelled()
            assert await database.read(rows) == [("", 2, 0, 0, 11)]

    asyncio.run(story())
