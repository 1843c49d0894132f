"""Reports add up what the ledger has, on SQLite and on PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from sqlalchemy import insert, update

from gateway.clock import iso
from gateway.database.engine import Database, sqlite_url
from gateway.database.tables import generations, tenants
from gateway.ledger import savings
from gateway.ledger.records import Abandonment, Repeat, Reservation, Settlement
from gateway.ledger.report import GROUPINGS, Grouping, Question, Reports
from gateway.ledger.reserve import remember, reserve
from gateway.ledger.savings import Whose
from gateway.ledger.settle import abandon, settle
from tests.books import DAY, MOMENT, YUAN, opened, reservation, settlement
from tests.servers.postgres import Postgres

NEXT = "2026-11-23"
NEXT_MONTH = "2026-12-01"


@dataclass(frozen=True, slots=True)
class Books:
    """A database whose ledger is filled by hand, and asked."""

    database: Database
    tenants: dict[str, str] = field(default_factory=dict)

    async def tenant(self, name: str) -> str:
        if name not in self.tenants:
            self.tenants[name] = f"ten_{name}"
            row = {"id": f"ten_{name}", "name": name, "policy": "{}", "created_at": MOMENT}
            await self.database.write(lambda sql: sql.execute(insert(tenants).values(row)))
        return self.tenants[name]

    async def reserve(self, *, tenant: str = "team", end_user: str | None = None, **others: Any) -> Reservation:
        asked = replace(reservation(await self.tenant(tenant)), **others)
        await self.database.write(lambda sql: reserve(sql, "proc_1", [asked]))
        named = update(generations).where(generations.c.id == asked.id).values(end_user=end_user)
        await self.database.write(lambda sql: sql.execute(named))
        return asked

    async def settle(self, cost: int, *, images: int = 1, failed: int = 0, **others: Any) -> None:
        asked = await self.reserve(**others)
        ended = replace(settlement(asked, cost), images_generated=images, images_failed=failed)
        await self.database.write(lambda sql: settle(sql, [ended]))

    async def ended(self, *ends: Settlement) -> None:
        await self.database.write(lambda sql: settle(sql, ends))

    async def ask(self, by: Grouping, first: str = DAY, last: str = NEXT, **others: Any) -> Sequence[dict[str, Any]]:
        rows = await Reports(self.database).spend(Question(by, first, last, **others))
        return [row.shown() for row in rows]

    async def costs(self, by: Grouping, first: str = DAY, last: str = NEXT, **others: Any) -> dict[str | None, str]:
        return {row[by]: row["cost_yuan"] for row in await self.ask(by, first, last, **others)}


@asynccontextmanager
async def books(url: str) -> AsyncIterator[Books]:
    async with opened(url) as database:
        yield Books(database)


def test_each_outcome_is_told_apart(database_url: str) -> None:
    """Settled generations have a cost, unknown ones an amount of their own; a repeat's row is no generation."""

    async def story() -> None:
        async with books(database_url) as one:
            await one.settle(40_000, images=2, failed=1)
            await one.settle(0, images=0, failed=1)
            await one.ended(settlement(await one.reserve(), kind="free"))
            await one.reserve(quote=5 * YUAN)
            lost = await one.reserve(quote=3 * YUAN)
            await one.database.write(lambda sql: abandon(sql, [Abandonment(lost.id, lost.tenant_id, "lost")]))
            repeat = Repeat(reservation(await one.tenant("team"), idempotency_key="k"), "{}")
            await one.database.write(lambda sql: remember(sql, "proc_1", [repeat]))
            assert await one.ask("model") == [
                {
                    "model": "flux-2-pro",
                    "cost_yuan": "0.040000",
                    "generations": 5,
                    "settled": 2,
                    "released": 1,
                    "reserved": 1,
                    "unknown": 1,
                    "unknown_yuan": "3.000000",
                    "images_generated": 2,
                    "images_failed": 2,
                    "hits": 0,
                    "collapsed": 0,
                    "replayed": 0,
                    "saved_yuan": "0.000000",
                }
            ]
            assert await one.ask("model", NEXT, NEXT) == []

    asyncio.run(story())


def test_whatever_it_is_grouped_by_it_is_the_same_sum(database_url: str) -> None:
    """Every grouping names each group once, and what no user was named for has none; a tenant sees its own alone."""

    async def story() -> None:
        async with books(database_url) as one:
            await one.settle(1, model="a", provider="x", key_id="k1", end_user="ann")
            await one.settle(2, model="b", provider="x", key_id="k1", end_user="bo")
            await one.settle(4, model="b", provider="y", key_id="k2", day=NEXT)
            await one.settle(8, tenant="other", model="b", provider="y", key_id="k3", end_user="ann")
            await one.settle(16, tenant="other", day=NEXT_MONTH)
            yuan = "0.0000{:02}".format
            wanted: dict[Grouping, dict[str | None, str]] = {
                "day": {DAY: yuan(11), NEXT: yuan(4)},
                "model": {"a": yuan(1), "b": yuan(14)},
                "tenant": {"other": yuan(8), "team": yuan(7)},
                "provider": {"x": yuan(3), "y": yuan(12)},
                "key": {"k1": yuan(3), "k2": yuan(4), "k3": yuan(8)},
                "user": {None: yuan(4), "ann": yuan(9), "bo": yuan(2)},
            }
            assert wanted.keys() == set(GROUPINGS)
            for by, costs in wanted.items():
                assert await one.costs(by) == costs
                assert list(await one.costs(by)) == list(costs), "sorted by name"
            assert await one.costs("model", tenant_id="ten_team") == {"a": yuan(1), "b": yuan(6)}
            assert await one.costs("tenant", "0001-01-01", "9999-12-31") == {"other": yuan(24), "team": yuan(7)}

    asyncio.run(story())


def test_what_was_saved_stands_beside_what_was_spent(database_url: str) -> None:
    """Hits are in the same rows as generations, and in rows of their own where nothing was generated."""

    async def story() -> None:
        async with books(database_url) as one:
            await one.settle(40_000)
            team = Whose(DAY, await one.tenant("team"), "flux-2-pro", "Black Forest Labs", "key_1")
            counts = {
                team: {"hits": 2, "replayed": 1, "saved": 80_000},
                team._replace(day=NEXT, end_user="ann"): {"collapsed": 3, "saved": 120_000},
            }
            await one.database.write(lambda sql: savings.add(sql, counts))
            ways = ("settled", "hits", "collapsed", "replayed", "saved_yuan")
            by_day = [tuple(row[name] for name in ("day", *ways)) for row in await one.ask("day")]
            assert by_day == [(DAY, 1, 2, 0, 1, "0.080000"), (NEXT, 0, 0, 3, 0, "0.120000")]
            for by in ("model", "tenant", "provider", "key"):
                (row,) = await one.ask(by)
                assert tuple(row[name] for name in ways) == (1, 2, 3, 1, "0.200000")
            assert [(row["user"], row["saved_yuan"]) for row in await one.ask("user")] == [
                (None, "0.080000"),
                ("ann", "0.120000"),
            ]

    asyncio.run(story())


@pytest.fixture(params=["sqlite", "postgresql", "English"])
def any_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Give the URL of an empty database of each kind, and of a PostgreSQL that sorts as an English dictionary does."""
    if request.param == "sqlite":
        yield sqlite_url(tmp_path / "gateway.db")
    elif request.param == "postgresql":
        yield request.getfixturevalue("postgres_url")
    else:
        server: Postgres = request.getfixturevalue("postgres_server")
        name = "test_in_english"
        asyncio.run(
            _create(server.url(), f"CREATE DATABASE {name} TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'en'")
        )
        yield server.url(name)
        server.drop_database(name)


async def _create(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


def test_pages_are_the_whole(any_url: str) -> None:
    """Page by page the rows are those of the whole report, in one order whatever the language of the database."""
    users = ["", "Zoe", "_x", "ann", "bo", "Äda", "ä", "王", "😀", "-a", "a b", "ab"]

    async def story() -> None:
        async with books(any_url) as one:
            for day in (DAY, NEXT, NEXT_MONTH):
                for user in users:
                    await one.settle(1, end_user=user or None, day=day)
            whole = await one.ask("user", DAY, NEXT_MONTH)
            assert [row["user"] or "" for row in whole] == sorted(users)
            assert {row["cost_yuan"] for row in whole} == {"0.000003"}
            for limit in (1, 5, len(users)):
                pages: list[dict[str, Any]] = []
                after: str | None = None
                while page := await one.ask("user", DAY, NEXT_MONTH, after=after, limit=limit):
                    pages += page
                    after = page[-1]["user"] or ""
                assert pages == whole
            by_tenant = await one.ask("tenant", limit=1)
            assert by_tenant == await one.ask("tenant")
            assert await one.ask("tenant", after="team") == []

    asyncio.run(story())


def test_the_day_is_the_one_that_was_stored(database_url: str) -> None:
    """A generation counts on the local day of its reservation, whatever day it is in UTC."""

    async def story() -> None:
        async with books(database_url) as one:
            late = MOMENT - 3_600_000
            assert iso(late).startswith("2026-11-21")
            await one.settle(7, day=DAY, created_at=late)
            assert await one.costs("day", DAY, DAY) == {DAY: "0.000007"}
            assert await one.costs("day", "2026-11-21", "2026-11-21") == {}

    asyncio.run(story())
