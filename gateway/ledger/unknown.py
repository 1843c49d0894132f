"""Unknown generations: listed for an operator, settled or voided one by one, in bulk, or when they are overdue."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select

from gateway import clock
from gateway.clock import Millis
from gateway.database.audit import record
from gateway.database.engine import Database
from gateway.database.tables import generations, tenants
from gateway.errors import InvalidRequest, NotFound
from gateway.ledger.bill import FREE, Bill
from gateway.ledger.records import Settlement
from gateway.ledger.reserve import lock_tenants
from gateway.ledger.settle import settle
from gateway.money import Micros, format_yuan

AT_ONCE = 500
"""The most that are listed, or decided in one transaction: reservations wait while it runs."""

DECIDED = "generation.reconcile"
"""What the audit trail calls a decision."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """A generation whose outcome is unknown; `quote` is what it holds of its tenant's budget."""

    id: str
    tenant_id: str
    tenant: str
    model: str
    quote: Micros
    created_at: Millis
    failure: str | None

    def shown(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            "id": self.id,
            "tenant": self.tenant,
            "model": self.model,
            "quote_yuan": format_yuan(self.quote),
            "created_at": clock.iso(self.created_at),
            "failure": self.failure,
        }


def list_unknown(
    connection: Connection,
    *,
    generation: str | None = None,
    tenant: str | None = None,
    before: Millis | None = None,
) -> Sequence[Unknown]:
    """Return unknown generations, oldest first, at most AT_ONCE: one, a tenant's (by name), those begun before."""
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
    return [
        Unknown(row.id, row.tenant_id, row.tenant, row.model, row.quote, row.created_at, row.failure)
        for row in connection.execute(query)
    ]


def settle_overdue(connection: Connection, before: Millis, now: Millis) -> int:
    """Settle at its quote what is unknown since `before`; return how many."""
    overdue = list_unknown(connection, before=before)
    return len(decide(connection, overdue, None, now, by="GATEWAY_UNKNOWN_SETTLE_AFTER"))


def decide(
    connection: Connection, unknown: Sequence[Unknown], bill: Bill | None, now: Millis, *, by: str
) -> list[Settlement]:
    """Settle unknown generations at `bill`, or each at its quote if None; a free one voids. Return what was done.

    Each leaves an audit row. One that a late answer has ended meanwhile is left as it is.
    """
    decided = [
        Settlement(
            one.id,
            one.tenant_id,
            Bill("quoted", one.quote) if bill is None else bill,
            now,
            failure=f"voided by {by}" if bill == FREE else f"settled by {by}",
        )
        for one in unknown
    ]
    lock_tenants(connection, [one.tenant_id for one in decided])
    changed = settle(connection, decided)
    done = [one for one, did in zip(decided, changed, strict=True) if did]
    for one in done:
        state = "released" if one.bill == FREE else "settled"
        after = {"state": state, "cost_yuan": format_yuan(one.bill.cost)}
        record(connection, by, DECIDED, one.id, before={"state": "unknown"}, after=after)
    return done


def decide_one(connection: Connection, generation: str, bill: Bill, *, by: str) -> Settlement:
    """Settle or void one unknown generation. Raises NotFound."""
    done = decide(connection, list_unknown(connection, generation=generation), bill, clock.now(), by=by)
    if not done:
        raise NotFound(f"There is no unknown generation {generation[:40]}")
    return done[0]


async def decide_all(
    database: Database, bill: Bill | None, *, tenant: str | None, before: Millis | None, by: str
) -> int:
    """Settle at their quotes, or void, all that are a tenant's and begun before; return how many.

    At least one of the two must say which: raises InvalidRequest. AT_ONCE are decided in a transaction, so that
    reservations get their turn; after a failure between two, the same call does the rest. Raises LedgerUnavailable.
    """
    if tenant is None and before is None:
        raise InvalidRequest("say which: tenant, before, or both")
    # What becomes unknown from now on was not meant.
    until = clock.now() if before is None else before
    done = 0
    while decided := await database.write(lambda connection: _decide_some(connection, bill, tenant, until, by)):
        done += len(decided)
    return done


def _decide_some(
    connection: Connection, bill: Bill | None, tenant: str | None, before: Millis, by: str
) -> list[Settlement]:
    return decide(connection, list_unknown(connection, tenant=tenant, before=before), bill, clock.now(), by=by)
