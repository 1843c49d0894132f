"""The ledger on SQLite and on PostgreSQL: one behaviour."""

import asyncio
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Row, select

from gateway import clock
from gateway.database.engine import Database
from gateway.database.tables import images, processes
from gateway.ledger.journal import JournaledImage
from gateway.ledger.processes import GONE_AFTER_MS, give_up, goodbye, heartbeat
from gateway.ledger.records import PERIODS, Abandonment, Admitted, Budget, Duplicate, Exhausted, Period, Settlement
from gateway.ledger.unknown import decide, list_unknown, settle_overdue
from tests.books import (
    DAY,
    MOMENT,
    YUAN,
    add_tenant,
    open_ledger,
    opened,
    reservation,
    row_of,
    settlement,
    standing,
    totals,
    until_waiting,
)


def windows(spent: int, held: int) -> dict[tuple[str, str], tuple[int, int]]:
    """Return the balances of one day on which everything happened."""
    return dict.fromkeys((("day", DAY), ("month", DAY[:7]), ("total", "")), (spent, held))


def test_a_generation_is_held_then_billed(database_url: str, tmp_path: Path) -> None:
    """The quote is held in every window until the bill takes its place."""

    async def story() -> None:
        async with opened(database_url) as database:
            ledger = open_ledger(database, tmp_path)
            tenant = await database.write(add_tenant)
            asked = reservation(tenant, 40_000)
            assert await ledger.reserve(asked) == Admitted()
            assert await database.read(lambda sql: standing(sql, tenant)) == windows(0, 40_000)
            assert await ledger.settle(settlement(asked, 30_000))
            assert await database.read(lambda sql: standing(sql, tenant)) == windows(30_000, 0)
            row = await database.read(lambda sql: row_of(sql, asked.id))
            assert (row.state, row.bill, row.cost, row.quote) == ("settled", "exact", 30_000, 40_000)

    asyncio.run(story())


def test_a_second_settlement_changes_nothing(database_url: str, tmp_path: Path) -> None:
    """Settling is idempotent, whether alone, in one group or for a generation that does not exist."""

    async def story() -> None:
        async with opened(database_url) as database:
            ledger = open_ledger(database, tmp_path)
            tenant = await database.write(add_tenant)
            asked = reservation(tenant)
            await ledger.reserve(asked)
            at_once = await asyncio.gather(*(ledger.settle(settlement(asked, 7)) for _ in range(5)))
            assert Counter(at_once) == {True: 1, False: 4}
            assert not await ledger.settle(settlement(asked, 9))
            assert not await ledger.settle(settlement(reservation(tenant), 9))
            assert await database.read(lambda sql: standing(sql, tenant)) == windows(7, 0)

    asyncio.run(story())


def test_a_release_gives_back_the_hold_and_may_free_the_key(database_url: str, tmp_path: Path) -> None:
    """A free bill releases; the idempotency key is usable again only if the failure may be tried again."""

    async def story() -> None:
        async with opened(database_url) as database:
            ledger = open_ledger(database, tmp_path)
            tenant = await database.write(add_tenant)
            freed, kept = reservation(tenant, idempotency_key="a"), reservation(tenant, idempotency_key="b")
            await asyncio.gather(ledger.reserve(freed), ledger.reserve(kept))
            await ledger.settle(settlement(freed, kind="free", frees_key=True))
            await ledger.settle(settlement(kept, kind="free"))
            assert await database.read(lambda sql: standing(sql, tenant)) == windows(0, 0)
            assert (await database.read(lambda sql: row_of(sql, freed.id))).state == "released"
            assert await ledger.reserve(reservation(tenant, idempotency_key="a")) == Admitted()
            assert await ledger.reserve(reservation(tenant, idempotency_key="b")) == Duplicate(kept.id)

    asyncio.run(story())


@pytest.mark.parametrize("period", PERIODS)
def test_a_budget_refuses_what_does_not_fit(database_url: str, tmp_path: Path, period: Period) -> None:
    """A quote that passes the limit is refused with what is left; one that reaches it exactly is admitted."""

    async def story() -> None:
        async with opened(database_url) as database:
            ledger = open_ledger(database, tmp_path)
            tenant = await database.write(add_tenant)
            budget = Budget(**{period: 10})
            assert await ledger.reserve(reservation(tenant, 6, budget=budget)) == Admitted()
            assert await ledger.reserve(reservation(tenant, 5, budget=budget)) == Exhausted(period, 10, 4)
            assert await ledger.reserve(reservation(tenant, 4, budget=budget)) == Admitted()
            assert await ledger.reserve(reservation(tenant, 1, budget=budget)) == Exhausted(period, 10, 0)
            assert await database.read(lambda sql: totals(sql, tenant)) == (0, 10)

    asyncio.run(story())


def test_a_new_day_has_a_new_budget_and_a_bill_goes_to_the_day_that_held_it(database_url: str, tmp_path: Path) -> None:
    """After midnight the day's budget is whole again, and what was reserved before is billed to the day before."""

    async def story() -> None:
        async with opened(database_url) as database:
            ledger = open_ledger(database, tmp_path)
            tenant = await database.write(add_tenant)
            budget = Budget(day=10)
            evening = reservation(tenant, 10, budget=budget, day="2026-11-30")
            morning = reservation(tenant, 10, budget=budget, day="2026-12-01")
            assert await ledger.reserve(evening) == Admitted()
            assert await ledger.reserve(morning) == Admitted()
            await ledger.settle(settlement(evening, 9))
            assert await database.read(lambda sql: standing(sql, tenant)) == {
                ("day", "2026-11-30"): (9, 0),
                ("month", "2026-11"): (9, 0),
                ("day", "2026-12-01"): (0, 10),
                ("month", "2026-12"): (0, 10),
                ("total", ""): (9, 10),
            }

    asyncio.run(story())


def test_processes_together_never_overspend(
    database_url: str, tmp_path: Path, count: Callable[[int, int], int]
) -> None:
    """Two processes that reserve at the same moment admit exactly what the budget has room for."""
    asked = count(100, 2000)

    async def story() -> None:
        async with opened(database_url) as first, opened(database_url) as second:
            ledgers = [open_ledger(first, tmp_path / "1"), open_ledger(second, tmp_path / "2")]
            tenant = await first.write(add_tenant)
            budget = Budget(day=37 * YUAN, total=1000 * YUAN)
            admissions = await asyncio.gather(
                *(ledgers[turn % 2].reserve(reservation(tenant, budget=budget)) for turn in range(asked))
            )
            assert Counter(type(one) for one in admissions) == {Admitted: 37, Exhausted: asked - 37}
            assert await first.read(lambda sql: totals(sql, tenant)) == (0, 37 * YUAN)
            assert await first.read(lambda sql: standing(sql, tenant)) == windows(0, 37 * YUAN)

    asyncio.run(story())


def test_one_idempotency_key_is_one_generation(
    database_url: str, tmp_path: Path, count: Callable[[int, int], int]
) -> None:
    """Of many reservations with one key, over two processes, one is admitted and the others are told which."""
    asked = count(40, 1000)

    async def story() -> None:
        async with opened(database_url) as first, opened(database_url) as second:
            ledgers = [open_ledger(first, tmp_path / "1"), open_ledger(second, tmp_path / "2")]
            tenant = await first.write(add_tenant)
            reservations = [reservation(tenant, idempotency_key="one") for _ in range(asked)]
            admissions = await asyncio.gather(
                *(ledgers[turn % 2].reserve(one) for turn, one in enumerate(reservations))
            )
            winners = [one.id for one, said in zip(reservations, admissions, strict=True) if said == Admitted()]
            assert len(winners) == 1
            assert Counter(admissions) == {Admitted(): 1, Duplicate(winners[0]): asked - 1}
            other = await first.write(add_tenant)
            assert await ledgers[0].reserve(reservation(other, idempotency_key="one")) == Admitted()

    asyncio.run(story())


def test_two_processes_settling_many_tenants_do_not_wait_for_each_other_for_ever(
    database_url: str, tmp_path: Path
) -> None:
    """Groups that touch the same tenants in opposite orders all commit, and every balance equals its rows."""

    async def story() -> None:
        async with opened(database_url) as first, opened(database_url) as second:
            ledgers = [open_ledger(first, tmp_path / "1"), open_ledger(second, tmp_path / "2")]
            tenants = [await first.write(add_tenant) for _ in range(5)]
            asked = [reservation(tenant, 10) for _ in range(20) for tenant in tenants]
            await asyncio.gather(*(ledgers[turn % 2].reserve(one) for turn, one in enumerate(asked)))
            await asyncio.gather(
                *(ledgers[0].settle(settlement(one, 3)) for one in asked[:80]),
                *(ledgers[1].settle(settlement(one, 3)) for one in reversed(asked[:80])),
            )
            for tenant in tenants:
                assert await first.read(partial(totals, tenant=tenant)) == (48, 40)
                assert await first.read(partial(standing, tenant=tenant)) == windows(48, 40)

    asyncio.run(story())


def test_an_abandoned_generation_stays_held_and_a_late_bill_wins(database_url: str, tmp_path: Path) -> None:
    """Unknown keeps the hold; a late settlement ends it; giving up what has ended changes nothing."""

    async def story() -> None:
        async with opened(database_url) as database:
            ledger = open_ledger(database, tmp_path)
            tenant = await database.write(add_tenant)
            asked = reservation(tenant, 50)
            await ledger.reserve(asked)
            await ledger.abandon(Abandonment(asked.id, tenant, "silence", "1"))
            row = await database.read(lambda sql: row_of(sql, asked.id))
            assert (row.state, row.bill, row.cost, row.failure, row.account) == (
                "unknown",
                "unknown",
                None,
                "silence",
                "1",
            )
            assert await database.read(lambda sql: standing(sql, tenant)) == windows(0, 50)
            assert await ledger.settle(settlement(asked, 45))
            await ledger.abandon(Abandonment(asked.id, tenant, "too late"))
            assert await database.read(lambda sql: standing(sql, tenant)) == windows(45, 0)
            assert (await database.read(lambda sql: row_of(sql, asked.id))).state == "settled"

    asyncio.run(story())


def test_kept_images_are_written_with_the_bill(database_url: str, tmp_path: Path) -> None:
    """A settlement writes its images; a corrected bill that brings them again does not fail or repeat them."""
    image = JournaledImage("a" * 32 + ".png", "image/png", 100, 64, 64, "b" * 64)

    async def story() -> None:
        async with opened(database_url) as database:
            ledger = open_ledger(database, tmp_path)
            tenant = await database.write(add_tenant)
            asked = reservation(tenant, 50)
            await ledger.reserve(asked)
            for bill in (settlement(asked).bill, settlement(asked, 45).bill):
                assert await ledger.settle(Settlement(asked.id, tenant, bill, MOMENT, images=[image]))
            rows = await database.read(lambda sql: sql.execute(select(images)).all())
            assert [(row.name, row.generation_id, row.position) for row in rows] == [(image.name, asked.id, 0)]
            assert await database.read(lambda sql: standing(sql, tenant)) == windows(45, 0)

    asyncio.run(story())


def test_what_a_gone_process_reserved_becomes_unknown(database_url: str, tmp_path: Path) -> None:
    """A process without a heartbeat for 30 s is gone; its reservations are given up, those of the living are not."""

    async def story() -> None:
        async with opened(database_url) as database:
            tenant = await database.write(add_tenant)
            asked = {}
            for process, beat in (("prc_gone", MOMENT), ("prc_here", MOMENT + 1)):
                await database.write(partial(heartbeat, process_id=process, moment=beat))
                asked[process] = reservation(tenant)
                await open_ledger(database, tmp_path, process_id=process).reserve(asked[process])
            later = MOMENT + GONE_AFTER_MS + 1
            assert await database.write(lambda sql: give_up(sql, "prc_new", later, alone=False)) == 1
            states = {name: (await _row(database, one.id)).state for name, one in asked.items()}
            assert states == {"prc_gone": "unknown", "prc_here": "reserved"}
            assert await database.write(lambda sql: give_up(sql, "prc_new", later, alone=True)) == 1
            await database.write(lambda sql: goodbye(sql, "prc_new"))
            left = await database.read(lambda sql: set(sql.scalars(select(processes.c.id))))
            assert left == {"prc_gone", "prc_here"}

    asyncio.run(story())


def test_unknown_generations_settle_at_their_quote_when_they_are_overdue(database_url: str, tmp_path: Path) -> None:
    """Only what is unknown and old enough is settled, at its quote."""

    async def story() -> None:
        async with opened(database_url) as database:
            ledger = open_ledger(database, tmp_path)
            tenant = await database.write(add_tenant)
            old, young = reservation(tenant, 50), reservation(tenant, 60, created_at=MOMENT + 1000)
            for one in (old, young):
                await ledger.reserve(one)
                await ledger.abandon(Abandonment(one.id, tenant, "silence"))
            await ledger.reserve(reservation(tenant, 70))
            assert await database.write(lambda sql: settle_overdue(sql, MOMENT + 1000, clock.now())) == 1
            assert await database.read(lambda sql: standing(sql, tenant)) == windows(50, 130)
            assert [row.id for row in await database.read(list_unknown)] == [young.id]

    asyncio.run(story())


def test_an_operator_decides_what_is_unknown(database_url: str, tmp_path: Path) -> None:
    """An operator settles at an amount or voids; a generation that ended in between is left as it is."""

    async def story() -> None:
        async with opened(database_url) as database:
            ledger = open_ledger(database, tmp_path)
            tenant = await database.write(add_tenant)
            settled, voided, ended = (reservation(tenant, 50) for _ in range(3))
            for one in (settled, voided, ended):
                await ledger.reserve(one)
                await ledger.abandon(Abandonment(one.id, tenant, "silence"))
            rows = {row.id: row for row in await database.read(list_unknown)}
            await ledger.settle(settlement(ended, 1))
            bill = settlement(settled, 20).bill
            free = settlement(voided, kind="free").bill
            assert len(await database.write(lambda sql: decide(sql, [rows[settled.id]], bill, MOMENT, by="ann"))) == 1
            assert len(await database.write(lambda sql: decide(sql, [rows[voided.id]], free, MOMENT, by="ann"))) == 1
            assert await database.write(lambda sql: decide(sql, [rows[ended.id]], None, MOMENT, by="ann")) == []
            assert await database.read(lambda sql: standing(sql, tenant)) == windows(21, 0)
            assert (await _row(database, voided.id)).state == "released"

    asyncio.run(story())


def test_a_caller_who_is_stopped_while_it_reserves_holds_nothing(database_url: str, tmp_path: Path) -> None:
    """Cancelling a reservation that waits in a group releases it, since nothing was sent; its neighbours stay."""

    async def story() -> None:
        async with opened(database_url) as database:
            ledger = open_ledger(database, tmp_path)
            tenant = await database.write(add_tenant)
            asked = [reservation(tenant) for _ in range(10)]
            tasks = [asyncio.create_task(ledger.reserve(one)) for one in asked]
            await until_waiting(tasks)
            for task in tasks[::2]:
                task.cancel()
            said = await asyncio.gather(*tasks, return_exceptions=True)
            assert all(isinstance(one, asyncio.CancelledError) for one in said[::2])
            assert said[1::2] == [Admitted()] * 5
            await ledger.close()
            assert await database.read(lambda sql: totals(sql, tenant)) == (0, 5 * YUAN)
            assert [(await _row(database, one.id)).state for one in asked] == ["released", "reserved"] * 5

    asyncio.run(story())


def test_a_job_that_cannot_be_committed_fails_alone(database_url: str, tmp_path: Path) -> None:
    """A reservation of a tenant that does not exist breaks its group; the others are committed all the same."""

    async def story() -> None:
        async with opened(database_url) as database:
            ledger = open_ledger(database, tmp_path)
            tenant = await database.write(add_tenant)
            asked = [reservation(tenant), reservation("ten_nobody"), reservation(tenant)]
            said = await asyncio.gather(*(ledger.reserve(one) for one in asked), return_exceptions=True)
            assert [said[0], said[2]] == [Admitted(), Admitted()]
            assert isinstance(said[1], Exception)
            assert await database.read(lambda sql: totals(sql, tenant)) == (0, 2 * YUAN)

    asyncio.run(story())


def test_upstreams_own_figure_corrects_a_quoted_bill_once(database_url: str, tmp_path: Path) -> None:
    """The balance follows a correction by the difference; what comes after the exact figure is a repeat."""

    async def story() -> None:
        async with opened(database_url) as database:
            ledger = open_ledger(database, tmp_path)
            tenant = await database.write(add_tenant)
            asked = reservation(tenant, 50)
            await ledger.reserve(asked)
            assert await ledger.settle(settlement(asked))
            assert await ledger.settle(settlement(asked, 20))
            assert not await ledger.settle(settlement(asked, 30))
            assert not await ledger.settle(settlement(asked))
            assert await database.read(lambda sql: standing(sql, tenant)) == windows(20, 0)
            assert await database.read(lambda sql: totals(sql, tenant)) == (20, 0)

    asyncio.run(story())


async def _row(database: Database, generation: str) -> Row[*tuple[Any, ...]]:
    return await database.read(lambda sql: row_of(sql, generation))
