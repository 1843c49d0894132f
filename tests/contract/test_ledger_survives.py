"""What was paid is not forgotten: whatever SQL says, whoever leaves, whoever decided before."""

import asyncio
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import Connection, text

from gateway.ledger.bill import FREE, Bill
from gateway.ledger.journal import Journal
from gateway.ledger.ledger import Ledger
from gateway.ledger.processes import give_up
from gateway.ledger.records import Abandonment
from gateway.ledger.reserve import lock_tenants
from gateway.ledger.settle import settle
from gateway.ledger.unknown import decide, list_unknown
from tests.books import (
    MOMENT,
    add_tenant,
    open_journal,
    open_ledger,
    opened,
    reservation,
    row_of,
    settlement,
    until_waiting,
)


def journaling(database: object, journal: Journal) -> Ledger:
    """Make a ledger that journals."""
    return Ledger(database, journal, "prc_1", alone=False)  # type: ignore[arg-type]  # a Database, whichever it is


def test_what_sql_refuses_is_journaled_and_holds_up_nothing(postgres_url: str, tmp_path: Path) -> None:
    """A settlement that SQL will not take for its own sake waits in the journal, and the others are committed."""

    async def story() -> None:
        async with opened(postgres_url) as database:
            tenant = await database.write(add_tenant)
            with open_journal(tmp_path, "prc_1") as journal:
                ledger = journaling(database, journal)
                odd, plain = reservation(tenant), reservation(tenant)
                for one in (odd, plain):
                    await ledger.reserve(one)
                refused = replace(settlement(odd, 5), provider="p" * 1000)
                assert await ledger.settle(refused)
                assert journal.entries == [refused]
                await journal.append(settlement(plain, 7))
                await ledger.flush_journal()
                await ledger.flush_journal()
                assert journal.entries == [refused]
                assert (await database.read(lambda sql: row_of(sql, plain.id))).cost == 7
                await ledger.close()
            assert (tmp_path / "prc_1.jsonl").exists()

    asyncio.run(story())


def test_a_caller_who_is_stopped_while_sql_hangs_loses_no_settlement(postgres_url: str, tmp_path: Path) -> None:
    """The settlement belongs to the ledger: with its caller gone and its rows locked it is journaled, and committed."""

    async def story() -> None:
        async with opened(postgres_url) as database, opened(postgres_url) as other:
            tenant = await database.write(add_tenant)
            with open_journal(tmp_path, "prc_1") as journal:
                ledger = journaling(database, journal)
                asked = reservation(tenant)
                await ledger.reserve(asked)
                locked = asyncio.Event()
                loop = asyncio.get_running_loop()

                def hold(connection: Connection) -> None:
                    connection.execute(text("SELECT id FROM tenants FOR UPDATE"))
                    loop.call_soon_threadsafe(locked.set)
                    connection.execute(text("SELECT pg_sleep(4)"))

                holding = asyncio.create_task(other.write(hold))
                await locked.wait()
                settling = asyncio.create_task(ledger.settle(settlement(asked, 9)))
                await until_waiting([settling])
                settling.cancel()
                await asyncio.gather(settling, holding, return_exceptions=True)
                await ledger.close()
            assert (await database.read(lambda sql: row_of(sql, asked.id))).cost == 9

    asyncio.run(story())


@pytest.mark.parametrize("decided", [FREE, None], ids=["voided", "settled at the quote"])
def test_a_late_answer_is_the_truth(database_url: str, tmp_path: Path, decided: Bill | None) -> None:
    """What an operator decided about an unknown generation gives way to upstream's answer, also to one at the quote."""

    async def story() -> None:
        async with opened(database_url) as database:
            ledger, tenant = open_ledger(database, tmp_path), await database.write(add_tenant)
            asked = reservation(tenant, 40)
            await ledger.reserve(asked)
            await ledger.abandon(Abandonment(asked.id, tenant, "silence", "1"))
            rows = await database.read(list_unknown)
            await database.write(lambda sql: decide(sql, rows, decided, MOMENT, by="ann"))
            late = replace(settlement(asked), reply="{}", account="1")
            assert await ledger.settle(late)
            assert not await ledger.settle(late)
            row = await database.read(lambda sql: row_of(sql, asked.id))
            assert (row.state, row.cost, row.reply, row.account) == ("settled", 40, "{}", "1")

    asyncio.run(story())


def test_who_gives_up_waits_for_a_late_settlement(postgres_url: str, tmp_path: Path) -> None:
    """Giving up announced generations while one of them is being settled is no deadlock: both are done."""

    async def story() -> None:
        async with opened(postgres_url) as database:
            tenant = await database.write(add_tenant)
            late, lost = (replace(reservation(tenant), announced=True) for _ in range(2))
            gone = open_ledger(database, tmp_path, process_id="prc_gone")
            await asyncio.gather(gone.reserve(late), gone.reserve(lost))
            locked = asyncio.Event()

            def settle_when_others_wait(sql: Connection) -> list[bool]:
                lock_tenants(sql, [tenant])
                locked.set()
                waiting = text("SELECT count(*) FROM pg_locks WHERE NOT granted AND pg_sleep(0.01) IS NOT NULL")
                while not sql.scalar(waiting):  # for the heartbeat
                    pass
                return settle(sql, [settlement(late)])

            settling = asyncio.create_task(database.write(settle_when_others_wait))
            await locked.wait()
            given_up = await database.write(lambda sql: give_up(sql, "prc_new", MOMENT, alone=False))
            assert (given_up, await settling) == (1, [True])
            states = [(await database.read(partial(row_of, generation=one.id))).state for one in (late, lost)]
            assert states == ["settled", "unknown"]

    asyncio.run(story())
