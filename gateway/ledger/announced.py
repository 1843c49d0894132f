"""What a tenant is told of an asynchronous generation that has ended; the reply is fetched, not sent."""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, Row

from gateway.clock import Millis
from gateway.database.outbox import Event, announce
from gateway.ledger.records import State
from gateway.money import Micros, format_yuan


def end_of(generation_id: str, tenant_id: str, state: State, *, model: str, cost: Micros | None, at: Millis) -> Event:
    """Return the event of a generation that has come to this state."""
    data = {
        "id": generation_id,
        "state": state,
        "model": model,
        "cost_yuan": None if cost is None else format_yuan(cost),
        "location": f"/generations/{generation_id}",
    }
    return Event(tenant_id, f"generation.{state}", at, data)


def announce_unknown(connection: Connection, given_up: Iterable[Row[*tuple[Any, ...]]], moment: Millis) -> None:
    """Announce those of the generations just given up, by id, tenant_id, model and announced, that want it."""
    events = [
        end_of(row.id, row.tenant_id, "unknown", model=row.model, cost=None, at=moment)
        for row in given_up
        if row.announced
    ]
    announce(connection, events)
