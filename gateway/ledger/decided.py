"""What was decided about unknown generations, by an operator or because it was overdue, as the audit trail has it."""

from collections.abc import Sequence
from dataclasses import dataclass

import orjson
from sqlalchemy import Connection, select

from gateway.clock import Millis
from gateway.database.tables import audit, generations, tenants
from gateway.ids import least_id
from gateway.ledger.unknown import DECIDED
from gateway.money import Micros, parse_yuan


@dataclass(frozen=True, slots=True)
class Decided:
    """One decision: the id of its audit row, and what the generation was settled at."""

    id: str
    tenant: str
    model: str
    provider: str
    cost: Micros


def decided_since(connection: Connection, moment: Millis) -> Sequence[Decided]:
    """Return what was decided since a moment, oldest first."""
    columns = (audit.c.id, audit.c.after, tenants.c.name, generations.c.model, generations.c.provider)
    query = (
        select(*columns)
        .join(generations, generations.c.id == audit.c.subject)
        .join(tenants, tenants.c.id == generations.c.tenant_id)
        .where(audit.c.id >= least_id("aud", moment), audit.c.action == DECIDED)
        .order_by(audit.c.id)
    )
    return [
        Decided(row.id, row.name, row.model, row.provider, parse_yuan(orjson.loads(row.after)["cost_yuan"]))
        for row in connection.execute(query)
    ]
