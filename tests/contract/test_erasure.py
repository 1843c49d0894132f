"""Erasure on SQLite and on PostgreSQL: words go, money stays, and nothing that comes late brings them back."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, insert, select, update

from gateway.database.engine import Database, sqlite_url
from gateway.database.tables import generations, tenants
from gateway.flow.erase import Caches, Eraser, ask_for_all, ask_for_overdue
from gateway.flow.reply import KeptImage
from gateway.images.local import LocalStore
from gateway.images.store import image_name
from gateway.ledger import erasure
from gateway.ledger.bill import Bill
from gateway.ledger.find import by_id, image
from gateway.ledger.kept import sample
from gateway.ledger.records import Abandonment, Repeat, Reservation, Settlement
from gateway.ledger.reserve import remember, reserve
from gateway.ledger.settle import abandon, settle
from gateway.ledger.unknown import decide, list_unknown
from gateway.redis_link import Patience, RedisLink, parse_address
from gateway.replies import Entry, LocalFlights, LocalReplies, SharedFlights, SharedReplies
from gateway.tenants.policy import Policy, to_text
from tests.books import MOMENT, add_tenant, opened, reservation, row_of, standing
from tests.contract.limits_backends import new_metrics, patience, until
from tests.servers.redis import redis_server

DAY_MS = 86_400_000
WORDS = "a quetzalcoatlus over a lake"


def kept(name: str | None = None) -> KeptImage:
    """Describe an image."""
    name = image_name("image/png") if name is None else name
    return KeptImage("url", name, "image/png", 5, 1, 1, "0" * 64, WORDS)


def answered(of: Reservation, *pictures: KeptImage) -> Settlement:
    """Settle with a reply."""
    bill = Bill("exact", of.quote)
    return Settlement(of.id, of.tenant_id, bill, MOMENT + 1, images_generated=1, images=pictures, reply=WORDS)


def made(connection: Connection, *asked: Reservation, pictures: int = 1) -> list[str]:
    """Reserve and settle generations with images; return the names of those."""
    reserve(connection, "proc_1", asked)
    settled = [answered(one, *(kept() for _ in range(pictures))) for one in asked]
    settle(connection, settled)
    return [image.name for one in settled for image in one.images]


def words_in(connection: Connection, generation: str) -> str:
    """Return all text that a row has but its ids and its day."""
    row = row_of(connection, generation)
    return " ".join(str(value) for value in (row.ask, row.reply, row.failure, row.error))


def look(connection: Connection, generation: str) -> tuple[Any, ...]:
    """Return what there is of a row's erasure, and what never changes by it."""
    row = row_of(connection, generation)
    return row.state, row.cost, row.erase_asked_at is not None, row.erased_at is not None


def eraser(database: Database, directory: Path) -> Eraser:
    """Make an eraser with caches of its own and a directory of images."""
    return Eraser(database, Caches(LocalReplies(), LocalFlights(), one_each=False), LocalStore(directory))


def in_one_transaction(url: str, story: Callable[[Connection], None]) -> None:
    """Tell a story in one transaction of an empty database."""

    async def told() -> None:
        async with opened(url) as database:
            await database.write(story)

    asyncio.run(told())


def test_words_go_at_once_and_money_stays(database_url: str) -> None:
    """Asking takes ask, reply and errors from the row; state, cost, counts and balances are what they were."""

    def story(sql: Connection) -> None:
        tenant = add_tenant(sql)
        one, other = reservation(tenant, idempotency_key="k"), reservation(tenant)
        (name, _) = made(sql, one, other)
        before, books = row_of(sql, one.id), standing(sql, tenant)
        assert WORDS in words_in(sql, one.id)
        assert erasure.ask(sql, tenant, [one.id], MOMENT + 5) == 1
        assert erasure.ask(sql, tenant, [one.id], MOMENT + 9) == 0
        after = row_of(sql, one.id)
        changed = {key for key, value in before._mapping.items() if value != after._mapping[key]}
        assert changed == {"ask", "reply", "error", "erase_asked_at"}
        assert words_in(sql, one.id) == "{} None None {}"
        assert standing(sql, tenant) == books
        found = by_id(sql, one.id)
        assert found is not None
        assert found.erased
        record = image(sql, name)
        assert record is not None
        assert record.erased
        assert [row.name for row in sample(sql, 10)] != []
        assert name not in {row.name for row in sample(sql, 10)}
        assert look(sql, other.id) == ("settled", other.quote, False, False)

    in_one_transaction(database_url, story)


def test_what_runs_and_what_is_anothers_is_left_alone(database_url: str) -> None:
    """A reserved generation and another tenant's are not erased, whatever id is named."""

    def story(sql: Connection) -> None:
        tenant, stranger = add_tenant(sql), add_tenant(sql)
        running, theirs = reservation(tenant), reservation(stranger)
        reserve(sql, "proc_1", [running])
        made(sql, theirs)
        assert erasure.ask(sql, tenant, [running.id, theirs.id], MOMENT) == 0
        assert look(sql, running.id) == ("reserved", None, False, False)
        assert look(sql, theirs.id) == ("settled", theirs.quote, False, False)

    in_one_transaction(database_url, story)


def test_a_late_answer_brings_its_bill_and_no_words(database_url: str) -> None:
    """An unknown generation that was erased is settled late: its money is booked, its images wait for their erasure."""

    def story(sql: Connection) -> None:
        tenant = add_tenant(sql)
        one = reservation(tenant)
        reserve(sql, "proc_1", [one])
        abandon(sql, [Abandonment(one.id, tenant, WORDS)])
        assert erasure.ask(sql, tenant, [one.id], MOMENT) == 1
        doomed = erasure.waiting(sql)
        assert erasure.done(sql, doomed, MOMENT) == 1
        assert look(sql, one.id) == ("unknown", None, True, True)
        picture = kept()
        assert settle(sql, [answered(one, picture)]) == [True]
        assert look(sql, one.id) == ("settled", one.quote, True, False)
        assert WORDS not in words_in(sql, one.id)
        assert settle(sql, [answered(one, picture)]) == [False], "it was not ended by hand"
        (again,) = erasure.waiting(sql)
        assert again.images == (picture.name,)
        assert erasure.erased_images(sql, [picture.name, image_name("image/png")]) == {picture.name}

    in_one_transaction(database_url, story)


def test_images_that_came_meanwhile_are_not_forgotten(database_url: str) -> None:
    """Marking what is gone leaves a generation waiting that has got an image since it was read."""

    def story(sql: Connection) -> None:
        tenant = add_tenant(sql)
        one = reservation(tenant)
        reserve(sql, "proc_1", [one])
        abandon(sql, [Abandonment(one.id, tenant, "lost")])
        erasure.ask(sql, tenant, [one.id], MOMENT)
        doomed = erasure.waiting_of(sql, one.id)
        settle(sql, [answered(one, kept())])
        assert erasure.done(sql, doomed, MOMENT) == 0
        assert erasure.count_waiting(sql) == erasure.count_waiting(sql, tenant) == 1
        assert erasure.done(sql, erasure.waiting_of(sql, one.id), MOMENT) == 1
        assert erasure.count_waiting(sql) == 0

    in_one_transaction(database_url, story)


def test_an_operator_still_decides_what_is_unknown(database_url: str) -> None:
    """The hold of an erased unknown generation stays until somebody settles it, and a true bill corrects that."""

    def story(sql: Connection) -> None:
        tenant = add_tenant(sql)
        one = reservation(tenant)
        reserve(sql, "proc_1", [one])
        abandon(sql, [Abandonment(one.id, tenant, WORDS)])
        erasure.ask(sql, tenant, [one.id], MOMENT)
        assert standing(sql, tenant)["total", ""] == (0, one.quote)
        decide(sql, list_unknown(sql), Bill("quoted", one.quote), MOMENT, by="ann")
        assert standing(sql, tenant)["total", ""] == (one.quote, 0)
        assert words_in(sql, one.id) == "{} None None None"
        late = Settlement(one.id, tenant, Bill("exact", 5), MOMENT, reply=WORDS)
        assert settle(sql, [late]) == [True]
        assert standing(sql, tenant)["total", ""] == (5, 0)
        assert WORDS not in words_in(sql, one.id)

    in_one_transaction(database_url, story)


def test_repeats_go_with_what_they_repeated(database_url: str) -> None:
    """A row that was answered from an erased generation is erased with it, also one that is written afterwards."""

    def story(sql: Connection) -> None:
        tenant = add_tenant(sql)
        one, early, late, own = (reservation(tenant, idempotency_key=key) for key in ("1", "2", "3", "4"))
        made(sql, one)
        remember(sql, "proc_1", [Repeat(early, WORDS, of=one.id)])
        assert erasure.ask(sql, tenant, [one.id], MOMENT) == 2
        remember(sql, "proc_1", [Repeat(late, WORDS, of=one.id), Repeat(own, error=WORDS)])
        assert {two.id for two in erasure.waiting_of(sql, one.id)} == {one.id, early.id}
        assert erasure.done(sql, erasure.waiting_of(sql, one.id), MOMENT) == 2
        for gone in (one, early, late):
            assert look(sql, gone.id)[2:] == (True, True)
            assert WORDS not in words_in(sql, gone.id)
        assert WORDS in words_in(sql, own.id)
        assert all(row.idempotency_key for row in sql.execute(select(generations))), "none is paid for again"

    in_one_transaction(database_url, story)


def test_retention_asks_for_what_is_old(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that is older than its tenant's days is asked for, page by page, once; what is younger or runs stays."""
    monkeypatch.setattr(erasure, "AT_ONCE", 3)
    now = MOMENT + 100 * DAY_MS

    async def story() -> None:
        async with opened(database_url) as database:
            tenant, hoarder = await database.write(add_tenant), await database.write(add_tenant)
            policy = to_text(Policy(retention_days=30))
            await database.write(
                lambda sql: sql.execute(update(tenants).where(tenants.c.id == tenant).values(policy=policy))
            )
            ages = (99, 60, 50, 45, 40, 31, 30, 29, 1)
            *old, other = (
                replace(reservation(tenant, created_at=now - days * DAY_MS), id=f"gen_{number:032x}")
                for number, days in enumerate((*ages, 99))
            )
            stuck, other = old.pop(3), replace(other, tenant_id=hoarder)
            await database.write(lambda sql: made(sql, *old[:3]))
            await database.write(lambda sql: reserve(sql, "proc_1", [stuck]))
            await database.write(lambda sql: made(sql, *old[3:], other))
            assert await ask_for_overdue(database, now) == 5
            assert await ask_for_overdue(database, now) == 0
            asked = await database.read(
                lambda sql: [row.id for row in sql.execute(select(generations)) if row.erase_asked_at is not None]
            )
            assert sorted(asked) == sorted(one.id for one in old[:5])
            assert await database.read(lambda sql: erasure.swept_to(sql, tenant)) == old[2].id, "up to what runs"
            assert await ask_for_overdue(database, now + 2) == 1
            await database.write(lambda sql: settle(sql, [answered(stuck, kept())]))
            assert await ask_for_overdue(database, now + 2) == 1
            assert await database.read(lambda sql: erasure.swept_to(sql, tenant)) == stuck.id
            assert await database.read(lambda sql: look(sql, other.id)) == ("settled", other.quote, False, False)

    asyncio.run(story())


def test_one_end_user_is_forgotten_among_others(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what was made for that end user of that tenant is asked for, on however many pages; what runs is told."""
    monkeypatch.setattr(erasure, "AT_ONCE", 2)

    def begin(sql: Connection, tenant: str, user: str | None, number: int) -> list[str]:
        asked = [reservation(tenant) for _ in range(number)]
        made(sql, *asked)
        ids = [one.id for one in asked]
        sql.execute(update(generations).where(generations.c.id.in_(ids)).values(end_user=user))
        return ids

    async def story() -> None:
        async with opened(database_url) as database:
            tenant, other = await database.write(add_tenant), await database.write(add_tenant)
            anns = await database.write(lambda sql: begin(sql, tenant, "ann", 5))
            await database.write(lambda sql: [begin(sql, tenant, user, 3) for user in ("Ann", None)])
            await database.write(lambda sql: begin(sql, other, "ann", 1))
            (running,) = await database.write(lambda sql: begin(sql, tenant, "ann", 1))
            still = update(generations).where(generations.c.id == running).values(state="reserved")
            await database.write(lambda sql: sql.execute(still))
            assert await ask_for_all(database, tenant, end_user="ann") == (5, 1)
            assert await ask_for_all(database, tenant, end_user="ann") == (0, 1)
            asked = select(generations.c.id).where(generations.c.erase_asked_at.is_not(None))
            assert sorted(await database.read(lambda sql: list(sql.scalars(asked)))) == sorted(anns)
            assert await ask_for_all(database, tenant, end_user=None) == (6, 1)

    asyncio.run(story())


def test_the_mark_comes_after_the_bytes_and_these_after_the_cache(database_url: str, tmp_path: Path) -> None:
    """While the store is away nothing is marked, though no cached reply is left; once it is back, all of it goes."""

    async def story() -> None:
        async with opened(database_url) as database:
            directory = tmp_path / "images"
            erasing, store = eraser(database, directory), LocalStore(directory)
            tenant = await database.write(add_tenant)
            one = reservation(tenant)
            names = await database.write(lambda sql: made(sql, one, pictures=3))
            for name in names:
                await store.put(name, b"bytes")
            entry = Entry(WORDS, one.id, MOMENT, 1)
            assert await erasing.caches.replies.keep(tenant, one.fingerprint, entry, 60, Patience())
            away = directory.rename(tmp_path / "not-mounted")
            assert not await erasing.erase(tenant, one.id)
            assert await erasing.caches.replies.look(tenant, one.fingerprint, Patience()) is None
            assert await database.read(lambda sql: look(sql, one.id)) == ("settled", one.quote, True, False)
            away.rename(directory)
            assert await erasing.erase(tenant, one.id)
            assert [await store.open(name) for name in names] == [None] * 3
            assert await database.read(lambda sql: look(sql, one.id)) == ("settled", one.quote, True, True)
            assert not await erasing.caches.replies.keep(tenant, one.fingerprint, entry, 60, Patience()), "it is late"

    asyncio.run(story())


def test_while_redis_is_away_the_bytes_stay(tmp_path: Path) -> None:
    """A cached reply that cannot be dropped for certain keeps its image; with Redis back both go."""

    async def story() -> None:
        async with opened(sqlite_url(tmp_path / "books.db")) as database:
            metrics, store = new_metrics(), LocalStore(tmp_path / "images")
            tenant = await database.write(add_tenant)
            one = reservation(tenant)
            (name,) = await database.write(lambda sql: made(sql, one))
            await store.put(name, b"bytes")
            with redis_server() as redis:
                async with RedisLink(parse_address(redis.url), metrics) as link:
                    caches = Caches(SharedReplies(link, metrics), SharedFlights(link, metrics), one_each=False)
                    erasing = Eraser(database, caches, store)
                    entry = Entry(WORDS, one.id, MOMENT, 1)
                    assert await caches.replies.keep(tenant, one.fingerprint, entry, 60, patience())
                    redis.kill()
                    assert not await erasing.erase(tenant, one.id)
                    assert await store.open(name) is not None
                    assert await database.read(lambda sql: look(sql, one.id)) == ("settled", one.quote, True, False)
                    redis.start()
                    await until(lambda: link.up, "Redis to be asked again")
                    assert await erasing.erase(tenant, one.id)
            assert await store.open(name) is None
            assert await database.read(lambda sql: look(sql, one.id)) == ("settled", one.quote, True, True)

    asyncio.run(story())


def test_however_often_it_was_repeated_it_can_be_erased(database_url: str) -> None:
    """More repeats than a statement takes parameters: their words go in the same transaction."""
    repeats = 40_000

    def story(sql: Connection) -> None:
        tenant = add_tenant(sql)
        one = reservation(tenant)
        made(sql, one)
        like = dict(row_of(sql, one.id)._mapping) | {"repeat_of": one.id}
        sql.execute(insert(generations), [like | {"id": f"gen_{number:032x}"} for number in range(repeats)])
        assert erasure.ask(sql, tenant, [one.id], MOMENT + 5) == repeats + 1
        assert len(erasure.waiting_of(sql, one.id)) <= erasure.AT_ONCE + 1
        assert words_in(sql, f"gen_{repeats - 1:032x}") == "{} None None {}"

    in_one_transaction(database_url, story)


@pytest.mark.parametrize("erased", ["before", "after"])
def test_who_trailed_goes_with_whom_it_trailed(database_url: str, erased: str) -> None:
    """The row of a request that another's generation answered has no words once that is erased, whichever is first."""

    def story(sql: Connection) -> None:
        tenant = add_tenant(sql)
        one, behind = reservation(tenant), replace(reservation(tenant), quote=0)
        made(sql, one)
        reserve(sql, "proc_1", [behind])
        trailing = Settlement(behind.id, tenant, Bill("exact", 0), MOMENT + 2, reply=WORDS, of=one.id)
        if erased == "before":
            erasure.ask(sql, tenant, [one.id], MOMENT + 1)
            settle(sql, [trailing])
        else:
            settle(sql, [trailing])
            assert WORDS in words_in(sql, behind.id)
            erasure.ask(sql, tenant, [one.id], MOMENT + 3)
        assert words_in(sql, behind.id) == "{} None None {}"
        assert erasure.original(sql, behind.id) == erasure.original(sql, one.id) == one.id
        found = by_id(sql, behind.id)
        assert found is not None
        assert found.erased

    in_one_transaction(database_url, story)
