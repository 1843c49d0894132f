"""Unknown generations: listed for an operator, settled or voided one by one, in bulk, or when they are overdue."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, select

from gateway.clock import Millis
from gateway.database.tables import generations, tenants
from gateway.ledger.bill import FREE, Bill
from gateway.ledger.records import Settlement
from gateway.ledger.settle import settle

AT_ONCE = 500


def list_unknown(
    connection: Connection,
    *,
    generation: str | None = None,
    tenant: str | None = None,
    before: Millis | None = None,
) -> Sequence[Row[*tuple[Any, ...]]]:
    """Return unknown generations, oldest first, at most AT_ONCE.

    Each row has id, tenant (its name), tenant_id, model, quote, created_at, failure.
    """
    columns = (
        generations.c.id,
        generations.c.tenant_id,
        tenants.c.name.label("tenant"),
        generations.c.model,
        generations.c.quote,
        generations.c.created_at,
        generations.c.failure,
    )
    query = (
        select(*columns).join(tenants).where(generations.c.state == "unknown").order_by(generations.c.id).limit(AT_ONCE)
    )
    if generation is not None:
        query = query.where(generations.c.id == generation)
    if tenant is not None:
        query = query.where(tenants.c.name == tenant)
    if before is not None:
        query = query.where(generations.c.created_at < before)
    return connection.execute(query).all()


def settle_overdue(connection: Connection, before: Millis, now: Millis) -> int:
    """Settle at its quote what is unknown since `before` (GATEWAY_UNKNOWN_SETTLE_AFTER); return how many."""
    overdue = list_unknown(connection, before=before)
    return sum(
        settle(
            connection,
            [
                Settlement(row.id, row.tenant_id, Bill("quoted", row.quote), now, failure="unknown for too long")
                for row in overdue
            ],
        )
    )


def decide(
    connection: Connection, rows: Sequence[Row[*tuple[Any, ...]]], bill: Bill | None, now: Millis, *, by: str
) -> list[Settlement]:
    """Settle unknown generations at `bill`, or each at its quote if None; a free one voids. Return what was done."""
    decided = [
        Settlement(
            row.id,
            row.tenant_id,
            Bill("quoted", row.quote) if bill is None else bill,
            now,
            failure=f"voided by {by}" if bill == FREE else f"settled by {by}",
        )
        for row in rows
    ]
    changed = settle(connection, decided)
    return [one for one, did in zip(decided, changed, strict=True) if did]
