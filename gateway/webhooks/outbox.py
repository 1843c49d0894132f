"""The outbox as people and the clock see it: events listed, delivered once more, counted, swept."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

from sqlalchemy import Connection, and_, delete, func, or_, select, update

from gateway import clock
from gateway.clock import Millis
from gateway.database.tables import tenants, webhook_events

EventState: TypeAlias = Literal["waiting", "delivered", "failed"]
STATES: tuple[EventState, ...] = get_args(EventState)

DELIVERED_KEPT_MS = 3 * 86_400_000
FAILED_KEPT_MS = 30 * 86_400_000
AT_ONCE = 500
"""The most that are listed or swept at once."""


@dataclass(frozen=True, slots=True)
class Stored:
    """An event as people see it."""

    id: str
    tenant: str
    type: str
    state: EventState
    attempts: int
    created_at: Millis
    due_at: Millis
    status: int | None
    failure: str | None

    def shown(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            "id": self.id,
            "tenant": self.tenant,
            "type": self.type,
            "state": self.state,
            "attempts": self.attempts,
            "created_at": clock.iso(self.created_at),
            "next_try_at": clock.iso(self.due_at) if self.state == "waiting" else None,
            "status": self.status,
            "failure": self.failure,
        }


_LISTED = select(
    webhook_events.c.id,
    tenants.c.name,
    webhook_events.c.type,
    webhook_events.c.state,
    webhook_events.c.attempts,
    webhook_events.c.created_at,
    webhook_events.c.due_at,
    webhook_events.c.status,
    webhook_events.c.failure,
).join(tenants)


def list_events(
    connection: Connection, *, tenant: str | None = None, state: EventState | None = None
) -> Sequence[Stored]:
    """Return the newest events first, at most AT_ONCE: a tenant's (by name), those in a state."""
    query = _LISTED.order_by(webhook_events.c.id.desc()).limit(AT_ONCE)
    if tenant is not None:
        query = query.where(tenants.c.name == tenant)
    if state is not None:
        query = query.where(webhook_events.c.state == state)
    return [Stored(*row) for row in connection.execute(query)]


def redeliver(connection: Connection, moment: Millis, *, event: str | None = None, tenant_id: str | None = None) -> int:
    """Try again, from the beginning of the schedule: one event, or all of a tenant's that failed; return how many.

    One that was delivered is delivered once more, with the same `webhook-id`.
    """
    chosen = (
        webhook_events.c.id == event
        if event is not None
        else and_(webhook_events.c.tenant_id == tenant_id, webhook_events.c.state == "failed")
    )
    again = update(webhook_events).where(chosen).values(state="waiting", attempts=0, due_at=moment)
    return connection.execute(again).rowcount


def count_waiting(connection: Connection) -> int:
    """Return how many events wait to be delivered."""
    query = select(func.count()).select_from(webhook_events).where(webhook_events.c.state == "waiting")
    return int(connection.scalar(query) or 0)


def sweep(connection: Connection, moment: Millis) -> int:
    """Forget what was delivered 3 days ago or given up 30 days ago, at most AT_ONCE; return how many."""
    old = or_(
        and_(webhook_events.c.state == "delivered", webhook_events.c.due_at < moment - DELIVERED_KEPT_MS),
        and_(webhook_events.c.state == "failed", webhook_events.c.due_at < moment - FAILED_KEPT_MS),
    )
    some = select(webhook_events.c.id).where(old).limit(AT_ONCE)
    return connection.execute(delete(webhook_events).where(webhook_events.c.id.in_(some))).rowcount
