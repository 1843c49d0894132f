"""Client tokens on SQLite and on PostgreSQL: caps that hold, ends that take effect, rows that go."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import astuple, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select, update

from gateway import clock
from gateway.clock import Millis
from gateway.database.engine import Database
from gateway.database.tables import keys, tokens
from gateway.errors import NotFound, Unauthorized
from gateway.ledger.bill import FREE, Bill
from gateway.ledger.caps import Used, read_used
from gateway.ledger.records import Abandonment, Admitted, Capped, Caps, Reservation, Settlement
from gateway.ledger.unknown import decide_one
from gateway.tenants.administration import Administration, Key
from gateway.tenants.directory import Caller, Directory
from gateway.tenants.keys import Pepper
from gateway.tenants.token_policy import read_token_ask
from gateway.tenants.tokens import (
    SWEPT_AFTER_MS,
    SWEPT_AT_ONCE,
    Token,
    add_token,
    new_token,
    revoke_token,
    revoke_user,
    sweep,
)
from tests.books import MOMENT, YUAN, open_ledger, opened, reservation, settlement, totals

PEPPER = Pepper([b"new" * 12])
MODELS = frozenset({"flux-2-pro", "flux-2-max"})
ADMIN = Administration("ann", PEPPER, MODELS)


@dataclass(frozen=True, slots=True)
class Shop:
    """A tenant, and a server key of it."""

    database: Database
    key: Key
    key_text: str

    async def known(self, text: str) -> Caller:
        """Ask who this is, with nothing remembered."""
        return await Directory(self.database, PEPPER).caller(text)

    async def mint(self, given: Mapping[str, Any] | None = None) -> tuple[Token, str]:
        caller = await self.known(self.key_text)
        ask = read_token_ask({} if given is None else given, caller.policy, caller.key_policy, MODELS)
        token = new_token(caller, ask)
        return token, await self.database.write(lambda sql: add_token(sql, token, PEPPER))

    async def used(self, token: Token) -> tuple[int, ...] | None:
        found = await self.database.read(lambda sql: read_used(sql, [token.id]))
        return astuple(found[token.id]) if token.id in found else None

    async def end_key(self, expires_at: Millis | None) -> None:
        """Let the key expire then."""
        await self.database.write(lambda sql: sql.execute(update(keys).values(expires_at=expires_at)))

    async def refused(self, text: str) -> bool:
        try:
            await self.known(text)
        except Unauthorized:
            return True
        return False


@asynccontextmanager
async def shop(database_url: str, **policy: object) -> AsyncIterator[Shop]:
    """Open a tenant named shop with this policy."""
    async with opened(database_url) as database:
        await database.write(lambda sql: ADMIN.create_tenant(sql, "shop", policy))
        key, text = await database.write(lambda sql: ADMIN.create_key(sql, "shop"))
        yield Shop(database, key, text)


async def ask(one: Shop, token: Token, quote: int = YUAN) -> Reservation:
    """Ask for a generation with a token."""
    tenant_id = (await one.known(one.key_text)).tenant_id
    caps = Caps(token.id, token.granted.policy.max_images, token.granted.policy.max_cost)
    return reservation(tenant_id, quote, caps=caps)


@pytest.mark.parametrize("cap", [{"max_images": 7}, {"max_cost": "0.000037"}], ids=["images", "cost"])
def test_processes_together_never_pass_a_cap(
    database_url: str, tmp_path: Path, count: Callable[[int, int], int], cap: dict[str, object]
) -> None:
    """Two processes that reserve with one token at the same moment admit exactly what its cap has room for."""
    asked, quote, expected = count(60, 2000), 5, 7

    async def story() -> None:
        async with shop(database_url) as one, opened(database_url) as second:
            ledgers = [open_ledger(one.database, tmp_path / "1"), open_ledger(second, tmp_path / "2")]
            token, _ = await one.mint(cap)
            wanted = [await ask(one, token, quote) for _ in range(asked)]
            said = await asyncio.gather(*(ledgers[turn % 2].reserve(each) for turn, each in enumerate(wanted)))
            assert Counter(type(each) for each in said) == {Admitted: expected, Capped: asked - expected}
            assert await one.used(token) == (0, expected * quote, 0, expected)
            # What was released is free again, and nothing more.
            admitted = [each for each, answer in zip(wanted, said, strict=True) if answer == Admitted()]
            await asyncio.gather(*(ledgers[0].settle(settlement(each, kind="free")) for each in admitted[:2]))
            again = await asyncio.gather(*[ledgers[1].reserve(await ask(one, token, quote)) for _ in range(10)])
            assert Counter(type(each) for each in again) == {Admitted: 2, Capped: 8}
            assert await one.used(token) == (0, expected * quote, 0, expected)
            print(f"{asked} asked over two processes, the cap takes {expected}: {expected} admitted")

    asyncio.run(story())


def test_a_cap_counts_what_the_ledger_counts(database_url: str, tmp_path: Path) -> None:
    """A hold becomes its bill, an unknown outcome stays held, a late one corrects; the tenant's own books agree."""

    async def story() -> None:
        async with shop(database_url) as one:
            ledger = open_ledger(one.database, tmp_path)
            token, _ = await one.mint({"max_images": 10, "max_cost": "1"})
            exact, lost, refused, empty, quoted = [await ask(one, token, 100) for _ in range(5)]
            for each in (exact, lost, refused, empty, quoted):
                assert await ledger.reserve(each) == Admitted()
            assert await one.used(token) == (0, 500, 0, 5)
            await ledger.settle(
                Settlement(exact.id, exact.tenant_id, Bill("exact", 90), MOMENT, images_generated=2)
            )  # upstream gave one too many
            await ledger.abandon(Abandonment(lost.id, lost.tenant_id, "silence"))
            await ledger.settle(settlement(refused, kind="free"))
            await ledger.settle(Settlement(empty.id, empty.tenant_id, Bill("exact", 80), MOMENT, error="none"))
            await ledger.settle(Settlement(quoted.id, quoted.tenant_id, Bill("quoted", 100), MOMENT))
            assert await one.used(token) == (270, 100, 4, 1)
            # Upstream's own figure arrives late, and again: it replaces the quote, once.
            for _ in range(2):
                late = Settlement(
                    quoted.id, quoted.tenant_id, Bill("exact", 30), MOMENT, images_generated=1, reply="{}"
                )
                await ledger.settle(late)
            assert await one.used(token) == (200, 100, 4, 1)
            await one.database.write(lambda sql: decide_one(sql, lost.id, FREE, by="ann"))
            assert await one.used(token) == (200, 0, 4, 0)
            # A late answer is the truth, also after an operator's word.
            await ledger.settle(
                Settlement(lost.id, lost.tenant_id, Bill("exact", 70), MOMENT, images_generated=1, reply="{}")
            )
            assert await one.used(token) == (270, 0, 5, 0)
            assert await one.database.read(lambda sql: totals(sql, exact.tenant_id)) == (270, 0)

    asyncio.run(story())


def test_a_row_that_waits_for_another_generation_uses_no_cap(database_url: str, tmp_path: Path) -> None:
    """It asks for no image and costs nothing, however it ends, and also where the cap is used up."""

    async def story() -> None:
        async with shop(database_url) as one:
            ledger = open_ledger(one.database, tmp_path)
            token, _ = await one.mint({"max_images": 1})
            trailing = [replace(await ask(one, token, 0), images=0) for _ in range(3)]
            for each in (await ask(one, token), *trailing):
                assert await ledger.reserve(each) == Admitted()
            assert await one.used(token) == (0, YUAN, 0, 1)
            await ledger.settle(settlement(trailing[0], 0))
            await ledger.settle(settlement(trailing[1], kind="free"))
            await ledger.abandon(Abandonment(trailing[2].id, trailing[2].tenant_id, "silence"))
            await one.database.write(lambda sql: decide_one(sql, trailing[2].id, FREE, by="ann"))
            assert await one.used(token) == (0, YUAN, 0, 1)

    asyncio.run(story())


def test_a_refusal_says_what_is_left(database_url: str, tmp_path: Path) -> None:
    """The cap that refuses is named with its limit and what is left of it; another token has its own."""

    async def story() -> None:
        async with shop(database_url) as one:
            ledger = open_ledger(one.database, tmp_path)
            token, _ = await one.mint({"max_images": 2, "max_cost": "0.00001"})
            assert await ledger.reserve(await ask(one, token, 7)) == Admitted()
            assert await ledger.reserve(await ask(one, token, 7)) == Capped("cost", 10, 3)
            assert await ledger.reserve(await ask(one, token, 3)) == Admitted()
            assert await ledger.reserve(await ask(one, token, 1)) == Capped("images", 2, 0)
            other, _ = await one.mint({"max_images": 1})
            assert await ledger.reserve(await ask(one, other)) == Admitted()

    asyncio.run(story())


def test_a_token_is_its_keys_child(database_url: str) -> None:
    """It names its tenant, its server key and its user, and ends no later than its key."""

    async def story() -> None:
        async with shop(database_url, models="flux-2-pro,flux-2-max") as one:
            token, text = await one.mint({"user": "ann", "models": ["flux-2-pro"], "expires_in": 60})
            parent, caller = await one.known(one.key_text), await one.known(text)
            assert (caller.tenant_id, caller.key_id) == (parent.tenant_id, parent.key_id)
            assert caller.token is not None
            assert parent.token is None
            assert (caller.token.id, caller.token.user) == (token.id, "ann")
            assert caller.policy.models == ("flux-2-pro",)
            assert caller.expires_at == token.expires_at == token.created_at + 60_000
            rows = await one.database.read(lambda sql: [tuple(row) for row in sql.execute(select(tokens))])
            assert text not in str(rows)
            assert text[7:20] not in str(rows)
            ends = clock.now() + 90_000
            await one.end_key(ends)
            short, _ = await one.mint({"expires_in": 3600})
            assert short.expires_at == ends

    asyncio.run(story())


def test_a_parent_that_ends_or_narrows_takes_its_tokens_along(database_url: str) -> None:
    """A revoked or expired key and a disabled tenant refuse the token; a narrower policy narrows it."""

    async def story() -> None:
        async with shop(database_url, origins="https://a.example,https://b.example") as one:
            _, text = await one.mint({"models": ["flux-2-pro"], "origins": ["https://a.example"]})

            async def change(**options: object) -> Caller:
                await one.database.write(lambda sql: ADMIN.update_tenant(sql, "shop", options))
                return await one.known(text)

            assert (await change(models="flux-2-max")).policy.models == ()
            assert (await change(models="")).policy.models == ("flux-2-pro",)
            assert (await change(origins="https://b.example")).policy.origins == ()
            assert (await change(origins="")).policy.origins is None
            assert (await change(budget_day="1")).policy.budget_day == YUAN
            for disabled in (True, False):
                await one.database.write(partial(ADMIN.disable_tenant, name="shop", disabled=disabled))
                assert await one.refused(text) == disabled
            for expires_at in (clock.now() - 1, None):
                await one.end_key(expires_at)
                assert await one.refused(text) == (expires_at is not None)
            await one.database.write(lambda sql: ADMIN.revoke_key(sql, one.key.id))
            assert await one.refused(text)

    asyncio.run(story())


def test_a_token_is_revoked_alone_or_by_user(database_url: str) -> None:
    """One token, or all of an end user of one tenant, over all its keys; nobody else's, and with a trail."""

    async def story() -> None:
        async with shop(database_url) as one:
            _, other_key = await one.database.write(lambda sql: ADMIN.create_key(sql, "shop"))
            sibling = Shop(one.database, one.key, other_key)
            await one.database.write(lambda sql: ADMIN.create_tenant(sql, "bank", {}))
            key, bank_key = await one.database.write(lambda sql: ADMIN.create_key(sql, "bank"))
            bank = Shop(one.database, key, bank_key)
            alone, alone_text = await one.mint({"user": "bob"})
            anns = [(await one.mint({"user": "ann"}))[1], (await sibling.mint({"user": "ann"}))[1]]
            kept = [(await one.mint())[1], (await bank.mint({"user": "ann"}))[1]]
            with pytest.raises(NotFound, match=alone.id):
                await one.database.write(lambda sql: revoke_token(sql, alone.id, by="x", tenant="bank"))
            for _ in range(2):
                said = await one.database.write(lambda sql: revoke_token(sql, alone.id, by=one.key.id, tenant="shop"))
                assert said == "shop"
            assert await one.refused(alone_text)
            assert await one.database.write(lambda sql: revoke_user(sql, "shop", "ann", by="ann")) == 2
            assert await one.database.write(lambda sql: revoke_user(sql, "shop", "ann", by="ann")) == 0
            assert [await one.refused(text) for text in anns] == [True, True]
            assert [await one.refused(text) for text in kept] == [False, False]

    asyncio.run(story())


def test_what_is_over_is_swept(database_url: str, tmp_path: Path, count: Callable[[int, int], int]) -> None:
    """A token goes an hour after it ended, a bounded number at a time; what it asked for is settled all the same."""
    extra = count(3, 700)

    async def story() -> None:
        async with shop(database_url) as one:
            ledger = open_ledger(one.database, tmp_path)
            token, text = await one.mint({"expires_in": 60, "max_images": 5})
            living, living_text = await one.mint({"expires_in": 3600})
            held, late = await ask(one, token, 40), await ask(one, token, 40)
            assert await ledger.reserve(held) == Admitted()
            caller = await one.known(one.key_text)
            for _ in range(SWEPT_AT_ONCE + extra - 1):
                more = new_token(caller, token.granted)
                await one.database.write(partial(add_token, token=more, pepper=PEPPER))
            over = token.expires_at + SWEPT_AFTER_MS
            assert await one.database.write(lambda sql: sweep(sql, over)) == 0
            moment = over + 60_000
            swept = [await one.database.write(lambda sql: sweep(sql, moment)) for _ in range(3)]
            assert swept == [SWEPT_AT_ONCE, extra, 0]
            assert await one.refused(text)
            assert not await one.refused(living_text)
            assert await one.used(token) is None
            assert await ledger.reserve(late) == Capped("images", 0, 0)
            assert await ledger.settle(settlement(held, 30))
            assert await one.database.read(lambda sql: totals(sql, held.tenant_id)) == (30, 0)
            left = await one.database.read(lambda sql: sql.scalar(select(func.count()).select_from(tokens)))
            assert (left, await one.used(living)) == (1, (0, 0, 0, 0))

    asyncio.run(story())


def test_used_adds_up() -> None:
    """Each counter is added to its own."""
    assert Used(1, 2, 3, 4) + Used(10, 20, 30, 40) == Used(11, 22, 33, 44)
