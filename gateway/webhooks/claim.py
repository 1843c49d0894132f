"""Claiming events that are due, and concluding each after its try. One process at a time has an event."""

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar

from sqlalchemy import ColumnElement, Connection, Select, and_, func, or_, select, update

from gateway.clock import Millis
from gateway.database.tables import webhook_endpoints, webhook_events
from gateway.webhooks.endpoints import disable, pause, signing
from gateway.webhooks.schedule import Again, Delivered, Failed, Tried, Verdict

Row = TypeVar("Row", bound=tuple[Any, ...])

LEASE_MS = 60_000
"""A claim that is not concluded for so long is another's: its process is gone. A try takes 15 s at the most."""

Urls: TypeAlias = Callable[[Connection, Collection[str]], Mapping[str, str]]
"""Finds the URLs of those tenants, by id, who want to be told anything."""


_ENDPOINT = webhook_events.c.tenant_id == webhook_endpoints.c.tenant_id


@dataclass(frozen=True, slots=True)
class Claim:
    """An event that is this process's to try. Without a URL, or with an endpoint that is gone, nobody wants it."""

    id: str
    tenant_id: str
    body: str = field(repr=False)
    attempts: int
    """This try included."""
    url: str | None = field(repr=False)
    gone: bool
    secrets: tuple[int, ...]
    """The versions of the secrets that sign."""


def any_due(connection: Connection, moment: Millis, trying: Mapping[str, int], *, each: int) -> bool:
    """Whether there is anything for `claim`: a look that locks nothing."""
    query = _awake(select(webhook_events.c.id), moment, _full(trying, each))
    return connection.scalar(query.limit(1)) is not None


def claim(
    connection: Connection, moment: Millis, urls: Urls, *, most: int, each: int, trying: Mapping[str, int]
) -> list[Claim]:
    """Claim events that are due, `most` of them; of each tenant no more than `each`, with those it is `trying` already.

    The tenants take turns, so that one with thousands waiting does not hold up the others.
    """
    taken: Counter[str] = Counter(trying)
    chosen = []
    for row in connection.execute(_due(moment, _full(trying, each), most=most, each=each)):
        if taken[row.tenant_id] < each:
            taken[row.tenant_id] += 1
            chosen.append(row)
    if not chosen:
        return []
    connection.execute(
        update(webhook_events)
        .where(webhook_events.c.id.in_([row.id for row in chosen]))
        .values(attempts=webhook_events.c.attempts + 1, due_at=moment + LEASE_MS)
    )
    found = urls(connection, {row.tenant_id for row in chosen})
    return [
        Claim(
            id=row.id,
            tenant_id=row.tenant_id,
            body=row.body,
            attempts=row.attempts + 1,
            url=found.get(row.tenant_id),
            gone=row.disabled_at is not None,
            secrets=signing(row.version or 0, row.rotated_at, moment),
        )
        for row in chosen
    ]


def conclude(connection: Connection, claimed: Claim, tried: Tried, verdict: Verdict, moment: Millis) -> bool:
    """Write what came of a try; False if the claim has run out and the event is another's, or ended by hand."""
    match verdict:
        case Delivered():
            values: dict[str, object] = {"state": "delivered", "due_at": moment}
        case Again(after=after, pause=seconds):
            values = {"due_at": moment + round(after * 1000)}
            if seconds:
                pause(connection, claimed.tenant_id, claimed.secrets[0], moment + round(seconds * 1000))
        case Failed(gone=gone):
            values = {"state": "failed", "due_at": moment}
            if gone:
                disable(connection, claimed.tenant_id, claimed.secrets[0], moment)
    mine = and_(
        webhook_events.c.id == claimed.id,
        webhook_events.c.state == "waiting",
        webhook_events.c.attempts == claimed.attempts,
    )
    values |= {"status": tried.status, "failure": tried.failure}
    return connection.execute(update(webhook_events).where(mine).values(values)).rowcount == 1


def _full(trying: Mapping[str, int], each: int) -> list[str]:
    return [tenant_id for tenant_id, number in trying.items() if number >= each]


def _awake(events: Select[Row], moment: Millis, full: Collection[str]) -> Select[Row]:
    """Choose those of the events that are due, and whose tenant neither rests nor has enough of them tried."""
    rests = webhook_endpoints.c.paused_until > moment
    return events.outerjoin(webhook_endpoints, _ENDPOINT).where(
        _due_at(moment), or_(webhook_endpoints.c.tenant_id.is_(None), ~rests), webhook_events.c.tenant_id.not_in(full)
    )


def _due(moment: Millis, full: Collection[str], *, most: int, each: int) -> Select[Any]:
    turn = func.row_number().over(partition_by=webhook_events.c.tenant_id, order_by=webhook_events.c.due_at)
    turns = _awake(select(webhook_events.c.id, turn.label("turn")), moment, full).subquery()
    first = select(turns.c.id).where(turns.c.turn <= each).order_by(turns.c.turn, turns.c.id).limit(most)
    return (
        select(
            webhook_events.c.id,
            webhook_events.c.tenant_id,
            webhook_events.c.body,
            webhook_events.c.attempts,
            webhook_endpoints.c.version,
            webhook_endpoints.c.rotated_at,
            webhook_endpoints.c.disabled_at,
        )
        .outerjoin(webhook_endpoints, _ENDPOINT)
        # Asked of the rows themselves too: another process may have claimed them since.
        .where(_due_at(moment), webhook_events.c.id.in_(first))
        .order_by(webhook_events.c.due_at)
        .with_for_update(of=webhook_events, skip_locked=True)
    )


def _due_at(moment: Millis) -> ColumnElement[bool]:
    return and_(webhook_events.c.state == "waiting", webhook_events.c.due_at <= moment)
