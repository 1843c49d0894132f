"""Tenants and keys on SQLite and on PostgreSQL: changed with a trail, known for seconds."""

import asyncio
from typing import Any

import orjson
import pytest
from sqlalchemy import Connection, select

from gateway import clock
from gateway.database.engine import Database
from gateway.database.tables import audit, keys
from gateway.errors import LedgerUnavailable, NameTaken, NotFound, Unauthorized
from gateway.tenants import directory
from gateway.tenants.administration import ROTATION_OVERLAP_MS, Administration, find_key, list_keys, list_tenants
from gateway.tenants.directory import FRESH_SECONDS, KNOWN_SECONDS, Directory
from gateway.tenants.keys import Pepper, make_key
from gateway.tenants.policy import InvalidPolicy
from tests.books import YUAN, opened

PEPPER = Pepper([b"new" * 12])
BEFORE = Pepper([b"old" * 12])
ROTATING = Pepper([b"new" * 12, b"old" * 12])
MODELS = frozenset({"flux-2-pro"})


@pytest.fixture
def admin() -> Administration:
    """Make changes in the name of ann."""
    return Administration("ann", PEPPER, MODELS)


class Watch:
    """A monotonic clock that a test moves."""

    def __init__(self) -> None:
        self.time = 1000.0

    def monotonic(self) -> float:
        return self.time


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    """Let the directory measure by a clock that the test moves."""
    moved = Watch()
    monkeypatch.setattr(directory, "time", moved)
    return moved


class Unreachable:
    """A database that can be cut off. It stands before a real one, so that only the cut is made up."""

    def __init__(self, database: Database) -> None:
        self.dialect = database.dialect
        self.away = False
        self.reads = 0
        self.close = database.close
        self.write = database.write
        self._database = database

    async def read(self, work: Any) -> Any:
        self.reads += 1
        if self.away:
            raise LedgerUnavailable(detail="cut off", retry_after=5)
        return await self._database.read(work)


def trail(connection: Connection) -> list[tuple[str, str, str]]:
    """Return who did what to what, oldest first."""
    rows = connection.execute(select(audit.c.actor, audit.c.action, audit.c.subject).order_by(audit.c.at, audit.c.id))
    return [(row.actor, row.action, row.subject) for row in rows]


def test_every_change_of_a_tenant_leaves_a_trail(database_url: str, admin: Administration) -> None:
    """Creating, updating, disabling and enabling each write one audit row with what was before and after."""

    async def story() -> None:
        async with opened(database_url) as database:
            made = await database.write(lambda sql: admin.create_tenant(sql, "shop", {"budget_day": "10"}))
            assert made.policy.budget_day == 10 * YUAN
            after = await database.write(lambda sql: admin.update_tenant(sql, "shop", {"models": "flux-2-pro"}))
            assert (after.policy.budget_day, after.policy.models) == (10 * YUAN, ("flux-2-pro",))
            assert (await database.write(lambda sql: admin.disable_tenant(sql, "shop", disabled=True))).disabled_at
            enabled = await database.write(lambda sql: admin.disable_tenant(sql, "shop", disabled=False))
            assert await database.read(list_tenants) == [enabled]
            rows = await database.read(lambda sql: sql.execute(select(audit).order_by(audit.c.at, audit.c.id)).all())
            actions = ["tenant.create", "tenant.update", "tenant.disable", "tenant.enable"]
            assert sorted((row.actor, row.action, row.subject) for row in rows) == sorted(
                ("ann", action, "shop") for action in actions
            )
            changed = next(row for row in rows if row.action == "tenant.update")
            assert orjson.loads(changed.before)["policy"]["models"] is None
            assert orjson.loads(changed.after)["policy"]["models"] == ["flux-2-pro"]

    asyncio.run(story())


@pytest.mark.parametrize("name", ["", "Shop", "-shop", "a b", "x" * 65, "shop\n", "商店"])
def test_a_name_that_could_confuse_is_refused(database_url: str, admin: Administration, name: str) -> None:
    """Names are short and plain, and a refused one leaves no trail."""

    async def story() -> None:
        async with opened(database_url) as database:
            with pytest.raises(InvalidPolicy, match="name"):
                await database.write(lambda sql: admin.create_tenant(sql, name, {}))
            assert await database.read(trail) == []

    asyncio.run(story())


def test_what_does_not_exist_or_exists_already_is_said(database_url: str, admin: Administration) -> None:
    """A taken name, an unknown tenant and an unknown key are refused by name."""

    async def story() -> None:
        async with opened(database_url) as database:
            await database.write(lambda sql: admin.create_tenant(sql, "shop", {}))
            with pytest.raises(NameTaken, match="shop"):
                await database.write(lambda sql: admin.create_tenant(sql, "shop", {}))
            with pytest.raises(NotFound, match="nobody"):
                await database.write(lambda sql: admin.create_key(sql, "nobody"))
            with pytest.raises(NotFound, match="key_x"):
                await database.write(lambda sql: admin.revoke_key(sql, "key_x"))
            assert await database.read(lambda sql: list_keys(sql, "shop")) == []

    asyncio.run(story())


def test_a_key_is_stored_nowhere(database_url: str, admin: Administration) -> None:
    """The text of a key is in no column of its row and of its trail."""

    async def story() -> None:
        async with opened(database_url) as database:
            await database.write(lambda sql: admin.create_tenant(sql, "shop", {}))
            key, text = await database.write(lambda sql: admin.create_key(sql, "shop", label="till"))
            assert (key.tenant, key.label, key.state(clock.now())) == ("shop", "till", "active")
            rows = await database.read(lambda sql: [*sql.execute(select(keys)), *sql.execute(select(audit))])
            assert all(text not in str(tuple(row)) and text[7:20] not in str(tuple(row)) for row in rows)
            assert text not in repr(key)

    asyncio.run(story())


def test_rotation_lets_both_keys_work_for_a_day(database_url: str, admin: Administration) -> None:
    """The successor has the limits of the old key, which expires after the overlap; a revoked key has no successor."""

    async def story() -> None:
        async with opened(database_url) as database:
            await database.write(lambda sql: admin.create_tenant(sql, "shop", {}))
            old, old_text = await database.write(
                lambda sql: admin.create_key(sql, "shop", label="till", options={"requests_per_minute": 5})
            )
            begun = clock.now()
            new, new_text = await database.write(lambda sql: admin.rotate_key(sql, old.id))
            assert (new.label, new.policy) == (old.label, old.policy)
            assert new.expires_at is None
            expiring = await database.read(lambda sql: find_key(sql, old.id))
            assert expiring.expires_at is not None
            assert 0 <= expiring.expires_at - begun - ROTATION_OVERLAP_MS < 60_000
            known = Directory(database, PEPPER)
            assert {(await known.caller(text)).key_id for text in (old_text, new_text)} == {old.id, new.id}
            revoked = await database.write(lambda sql: admin.revoke_key(sql, old.id))
            assert await database.write(lambda sql: admin.revoke_key(sql, old.id)) == revoked
            with pytest.raises(NotFound, match="revoked"):
                await database.write(lambda sql: admin.rotate_key(sql, old.id))
            assert [row[1] for row in await database.read(trail)].count("key.revoke") == 1

    asyncio.run(story())


def test_a_caller_is_known_by_the_key_alone(database_url: str, admin: Administration) -> None:
    """A good key names its tenant and policies; none, a malformed and an unknown one are all refused alike."""

    async def story() -> None:
        async with opened(database_url) as database:
            made = await database.write(lambda sql: admin.create_tenant(sql, "shop", {"concurrency": 3}))
            key, text = await database.write(lambda sql: admin.create_key(sql, "shop"))
            watched = Unreachable(database)
            known = Directory(watched, PEPPER)
            caller = await known.caller(text)
            assert (caller.tenant_id, caller.tenant, caller.key_id) == (made.id, "shop", key.id)
            assert caller.policy.concurrency == 3
            for wrong in (None, "", "igw_sk_", text[:-1], text + "0", text.swapcase(), f" {text}"):
                with pytest.raises(Unauthorized):
                    await known.caller(wrong)
            assert watched.reads == 1, "what cannot be a key is refused without a look-up"
            with pytest.raises(Unauthorized):
                await known.caller(make_key())

    asyncio.run(story())


def test_a_stampede_of_one_key_is_one_look_up(database_url: str, admin: Administration) -> None:
    """Requests that wait for the same key share its look-up, also when one of them leaves."""

    async def story() -> None:
        async with opened(database_url) as database:
            await database.write(lambda sql: admin.create_tenant(sql, "shop", {}))
            _, text = await database.write(lambda sql: admin.create_key(sql, "shop"))
            watched = Unreachable(database)
            known = Directory(watched, PEPPER)
            waiting = [asyncio.create_task(known.caller(text)) for _ in range(20)]
            await asyncio.sleep(0)
            waiting[0].cancel()
            said = await asyncio.gather(*waiting, return_exceptions=True)
            assert isinstance(said[0], asyncio.CancelledError)
            assert len({caller.key_id for caller in said[1:] if not isinstance(caller, BaseException)}) == 1
            assert watched.reads == 1

    asyncio.run(story())


@pytest.mark.parametrize("how", ["revoke", "disable"])
def test_a_refusal_takes_effect_within_seconds(
    database_url: str, admin: Administration, watch: Watch, how: str
) -> None:
    """A revoked key and a disabled tenant are refused once what was remembered is no longer fresh."""

    async def story() -> None:
        async with opened(database_url) as database:
            await database.write(lambda sql: admin.create_tenant(sql, "shop", {}))
            key, text = await database.write(lambda sql: admin.create_key(sql, "shop"))
            known = Directory(database, PEPPER)
            await known.caller(text)
            if how == "revoke":
                await database.write(lambda sql: admin.revoke_key(sql, key.id))
            else:
                await database.write(lambda sql: admin.disable_tenant(sql, "shop", disabled=True))
            watch.time += FRESH_SECONDS + 0.1
            with pytest.raises(Unauthorized):
                await known.caller(text)

    asyncio.run(story())


def test_a_key_expires_to_the_moment(database_url: str, admin: Administration, monkeypatch: pytest.MonkeyPatch) -> None:
    """An expiry is kept even while the key is remembered."""

    async def story() -> None:
        async with opened(database_url) as database:
            expires = clock.now() + 60_000
            await database.write(lambda sql: admin.create_tenant(sql, "shop", {}))
            _, text = await database.write(lambda sql: admin.create_key(sql, "shop", expires_at=expires))
            known = Directory(database, PEPPER)
            await known.caller(text)
            monkeypatch.setattr(clock, "now", lambda: expires)
            with pytest.raises(Unauthorized):
                await known.caller(text)

    asyncio.run(story())


def test_known_callers_outlive_an_outage_for_ten_minutes(
    database_url: str, admin: Administration, watch: Watch
) -> None:
    """With SQL away a caller seen within ten minutes is known, a new one and an older one cannot be told."""

    async def story() -> None:
        async with opened(database_url) as database:
            await database.write(lambda sql: admin.create_tenant(sql, "shop", {}))
            _, text = await database.write(lambda sql: admin.create_key(sql, "shop"))
            _, unseen = await database.write(lambda sql: admin.create_key(sql, "shop"))
            cut = Unreachable(database)
            known = Directory(cut, PEPPER)
            seen = await known.caller(text)
            cut.away = True
            watch.time += KNOWN_SECONDS - 1
            assert await known.caller(text) == seen
            with pytest.raises(LedgerUnavailable):
                await known.caller(unseen)
            watch.time += 2
            with pytest.raises(LedgerUnavailable):
                await known.caller(text)

    asyncio.run(story())


def test_keys_survive_a_rotation_of_the_gateways_secret(database_url: str) -> None:
    """While the old secret is still configured, keys made under it are known."""

    async def story() -> None:
        async with opened(database_url) as database:
            old = Administration("ann", BEFORE, MODELS)
            await database.write(lambda sql: old.create_tenant(sql, "shop", {}))
            key, text = await database.write(lambda sql: old.create_key(sql, "shop"))
            assert (await Directory(database, ROTATING).caller(text)).key_id == key.id
            with pytest.raises(Unauthorized):
                await Directory(database, PEPPER).caller(text)

    asyncio.run(story())
