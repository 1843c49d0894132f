"""The outbox: what tenants are to be told by webhook, until it is delivered.

An event is written in the transaction of what it tells: none is lost, and none tells of what did not happen.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import Connection, insert

from gateway import clock
from gateway.clock import Millis
from gateway.database.tables import webhook_events
from gateway.ids import new_id


@dataclass(frozen=True, slots=True)
class Event:
    """Something that a tenant is to be told. `data` is small: it names what there is to be fetched."""

    tenant_id: str
    type: str
    at: Millis
    data: Mapping[str, Any]


def announce(connection: Connection, events: Sequence[Event]) -> None:
    """Write events; each is delivered at least once after the transaction is committed."""
    if not events:
        return
    connection.execute(
        insert(webhook_events),
        [
            {
                "id": new_id("evt"),
                "tenant_id": event.tenant_id,
                "type": event.type,
                "body": _body(event),
                "state": "waiting",
                "attempts": 0,
                "created_at": event.at,
                "due_at": event.at,
            }
            for event in events
        ],
    )


def _body(event: Event) -> str:
    """Write the very bytes that are signed and sent, the same ones at every try."""
    return orjson.dumps({"type": event.type, "timestamp": clock.iso(event.at), "data": event.data}).decode()
