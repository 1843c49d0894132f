"""The ledger while its PostgreSQL is away: nothing begins, nothing is lost."""

import asyncio
from pathlib import Path

import pytest

from gateway.errors import LedgerUnavailable
from gateway.ledger.ledger import Ledger
from gateway.ledger.records import Abandonment, Admitted
from tests.books import YUAN, add_tenant, open_journal, open_ledger, opened, reservation, row_of, settlement, totals
from tests.servers.postgres import postgres


def test_settlements_wait_for_the_database(tmp_path: Path) -> None:
    """Through a crash of the server a reservation is refused, ends are journaled, and later every yuan is accounted."""

    def waiting() -> bool:
        return (tmp_path / "prc_1.jsonl").stat().st_size > 0

    async def story() -> None:
        async with opened(server.url()) as database:
            ledger = Ledger(database, journal, "prc_1", alone=False)
            tenant = await database.write(add_tenant)
            settled, released, lost = (reservation(tenant) for _ in range(3))
            await asyncio.gather(*map(ledger.reserve, (settled, released, lost)))
            server.kill()
            refused = reservation(tenant)
            with pytest.raises(LedgerUnavailable):
                await ledger.reserve(refused)
            assert await ledger.settle(settlement(settled, 7))
            assert await ledger.settle(settlement(released, kind="free"))
            await ledger.abandon(Abandonment(lost.id, tenant, "silence"))
            with pytest.raises(LedgerUnavailable):
                await ledger.flush_journal()
            assert waiting()
            await asyncio.to_thread(server.start)
            await ledger.flush_journal()
            assert not waiting()
            assert await database.read(lambda sql: totals(sql, tenant)) == (7, YUAN)
            assert (await database.read(lambda sql: row_of(sql, lost.id))).state == "unknown"
            assert await ledger.reserve(reservation(tenant)) == Admitted()

    with postgres() as server, open_journal(tmp_path, "prc_1") as journal:
        asyncio.run(story())


def test_the_next_process_settles_what_a_killed_one_journaled(database_url: str, tmp_path: Path) -> None:
    """A process that dies with a journal leaves it to the next, whose first flush commits it."""

    async def story() -> None:
        async with opened(database_url) as database:
            tenant = await database.write(add_tenant)
            asked = reservation(tenant)
            await open_ledger(database, tmp_path).reserve(asked)
            with open_journal(tmp_path, "prc_killed") as journal:
                await journal.append(settlement(asked, 7))
            with open_journal(tmp_path, "prc_next") as journal:
                ledger = Ledger(database, journal, "prc_next", alone=True)
                await ledger.open()
                assert (await database.read(lambda sql: row_of(sql, asked.id))).state == "unknown"
                await ledger.close()
            assert await database.read(lambda sql: totals(sql, tenant)) == (7, 0)

    asyncio.run(story())
    assert list(tmp_path.glob("*.jsonl")) == []
