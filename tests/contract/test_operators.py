"""Operators at work, on SQLite and on PostgreSQL: in bulk, and two at once."""

import asyncio

import pytest

from gateway.database.audit import list_entries
from gateway.errors import InvalidRequest, NameTaken, NotFound
from gateway.ledger import unknown
from gateway.ledger.bill import FREE, Bill
from gateway.ledger.records import Abandonment
from gateway.ledger.reserve import reserve
from gateway.ledger.settle import abandon
from gateway.ledger.unknown import decide_all, decide_one, list_unknown
from gateway.tenants.administration import Administration, find_tenant
from gateway.tenants.keys import Pepper
from tests.books import DAY, MOMENT, YUAN, add_tenant, opened, reservation, standing

ADMIN = Administration("ann", Pepper([b"pepper" * 6]), frozenset())


def test_all_are_decided_in_portions(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many there are, each is settled at its quote once, with an audit row; others' are left alone."""
    monkeypatch.setattr(unknown, "AT_ONCE", 2)

    async def story() -> None:
        async with opened(database_url) as database:
            shop, other = await database.write(add_tenant), await database.write(add_tenant)
            asked = [reservation(tenant, YUAN) for tenant in (*[shop] * 5, other)]
            await database.write(lambda sql: reserve(sql, "proc_1", asked))
            lost = [Abandonment(one.id, one.tenant_id, "lost") for one in asked]
            await database.write(lambda sql: abandon(sql, lost))
            assert await decide_all(database, None, tenant=shop, before=None, by="ann") == 5
            assert await decide_all(database, None, tenant=shop, before=None, by="ann") == 0
            assert (await database.read(lambda sql: standing(sql, shop)))["day", DAY] == (5 * YUAN, 0)
            assert [one.id for one in await database.read(list_unknown)] == [asked[-1].id]
            assert await decide_all(database, FREE, tenant=None, before=MOMENT, by="ann") == 0
            assert await decide_all(database, FREE, tenant=None, before=MOMENT + 1, by="ann") == 1
            assert (await database.read(lambda sql: standing(sql, other)))["day", DAY] == (0, 0)
            trail = await database.read(list_entries)
            assert {(one.subject, one.after["state"]) for one in trail} == {
                (one.id, "released" if one.tenant_id == other else "settled") for one in asked
            }
            assert len(trail) == 6

    asyncio.run(story())


def test_everything_is_never_meant(database_url: str) -> None:
    """Without saying whose or from when, nothing is decided; nor is what is not unknown."""

    async def story() -> None:
        async with opened(database_url) as database:
            with pytest.raises(InvalidRequest, match="say which"):
                await decide_all(database, FREE, tenant=None, before=None, by="ann")
            with pytest.raises(NotFound, match="gen_x"):
                await database.write(lambda sql: decide_one(sql, "gen_x", Bill("exact", 1), by="ann"))
            assert await database.read(list_entries) == []

    asyncio.run(story())


def test_two_operators_do_not_undo_each_other(database_url: str) -> None:
    """Changes of different options at the same moment are both kept, and each audit row tells the truth."""

    async def story() -> None:
        async with opened(database_url) as database:
            await database.write(lambda sql: ADMIN.create_tenant(sql, "shop", {}))
            options = ("requests_per_minute", "images_per_minute", "burst", "concurrency", "link_ttl")

            async def change(option: str) -> None:
                await database.write(lambda sql: ADMIN.update_tenant(sql, "shop", {option: 7}))

            await asyncio.gather(*map(change, options))
            policy = (await database.read(lambda sql: find_tenant(sql, "shop"))).policy
            assert [getattr(policy, option) for option in options] == [7] * len(options)
            trail = await database.read(lambda sql: list_entries(sql, subject="shop"))
            changed = sorted(
                sum(value == 7 for value in entry.after["policy"].values())
                for entry in trail
                if entry.action == "tenant.update"
            )
            assert changed == [1, 2, 3, 4, 5]

    asyncio.run(story())


def test_a_name_is_given_once(database_url: str) -> None:
    """Of several who make a tenant of one name at the same moment, one does; the others are told."""

    async def story() -> None:
        async with opened(database_url) as database:
            made = await asyncio.gather(
                *(database.write(lambda sql: ADMIN.create_tenant(sql, "shop", {})) for _ in range(5)),
                return_exceptions=True,
            )
            assert sum(isinstance(one, NameTaken) for one in made) == 4
            assert len(await database.read(list_entries)) == 1

    asyncio.run(story())
