"""What the tests of money share: an open, migrated database, a tenant in it, and things to tell the ledger."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Row, func, insert, select

from gateway.database.engine import Database, open_database
from gateway.database.migrate import upgrade
from gateway.database.tables import balances, generations, tenants
from gateway.ids import new_id
from gateway.ledger.bill import Bill
from gateway.ledger.journal import Journal
from gateway.ledger.ledger import Ledger
from gateway.ledger.records import Budget, Caps, Reservation, Settlement

DAY = "2026-11-22"
MOMENT = 1_795_305_600_000
"""The beginning of that day in UTC."""
YUAN = 1_000_000


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Database]:
    """Open a database, migrated, until the block ends."""
    database = open_database(url)
    try:
        await database.write(upgrade)
        yield database
    finally:
        await database.close()


def open_ledger(database: Database, directory: Path, *, process_id: str | None = None) -> Ledger:
    """Make the ledger of one process. Its journal is not open: nothing of what is tested with it may need one."""
    name = new_id("prc") if process_id is None else process_id
    return Ledger(database, Journal(directory, name), name, alone=False)


@contextmanager
def open_journal(directory: Path, process_id: str) -> Iterator[Journal]:
    """Open a journal for as long as its process lives."""
    journal = Journal(directory, process_id)
    journal.open()
    try:
        yield journal
    finally:
        journal.close()


def add_tenant(connection: Connection) -> str:
    """Write a tenant; return its id."""
    tenant = new_id("ten")
    connection.execute(insert(tenants).values(id=tenant, name=tenant, policy="{}", created_at=MOMENT))
    return tenant


def reservation(
    tenant: str,
    quote: int = YUAN,
    *,
    budget: Budget | None = None,
    day: str = DAY,
    idempotency_key: str | None = None,
    created_at: int = MOMENT,
    caps: Caps | None = None,
) -> Reservation:
    """Ask for a generation."""
    return Reservation(
        id=new_id("gen"),
        tenant_id=tenant,
        key_id="key_1",
        request_id="req_1",
        model="flux-2-pro",
        provider="Black Forest Labs",
        quote=quote,
        ask='{"prompt":"a lake"}',
        fingerprint="f" * 64,
        budget=Budget() if budget is None else budget,
        created_at=created_at,
        day=day,
        idempotency_key=idempotency_key,
        caps=caps,
    )


def settlement(
    of: Reservation, cost: int | None = None, *, kind: str | None = None, frees_key: bool = False
) -> Settlement:
    """End a generation: at `cost`, exactly; at its quote if that is None; free of charge with kind `free`."""
    bill = Bill("free", 0) if kind == "free" else Bill("quoted", of.quote) if cost is None else Bill("exact", cost)
    return Settlement(of.id, of.tenant_id, bill, MOMENT + 1, frees_key=frees_key)


def standing(connection: Connection, tenant: str) -> dict[tuple[str, str], tuple[int, int]]:
    """Return what a tenant spent and holds, by period and start."""
    rows = connection.execute(select(balances).where(balances.c.scope == tenant))
    return {(row.period, row.start): (row.spent, row.held) for row in rows}


def totals(connection: Connection, tenant: str) -> tuple[int, int]:
    """Return what a tenant's generations cost and hold, added up row by row."""
    spent = select(func.coalesce(func.sum(generations.c.cost), 0)).where(generations.c.tenant_id == tenant)
    held = select(func.coalesce(func.sum(generations.c.quote), 0)).where(
        generations.c.tenant_id == tenant, generations.c.state.in_(("reserved", "unknown"))
    )
    return int(connection.scalar(spent) or 0), int(connection.scalar(held) or 0)


def row_of(connection: Connection, generation: str) -> Row[*tuple[Any, ...]]:
    """Return a generation's row."""
    return connection.execute(select(generations).where(generations.c.id == generation)).one()


async def until_waiting(tasks: Sequence[asyncio.Task[Any]]) -> None:
    """Let tasks run up to the point where each waits for something."""
    for _ in range(len(tasks) + 2):
        await asyncio.sleep(0)
