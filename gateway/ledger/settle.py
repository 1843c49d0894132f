"""Settle a group of generations in one transaction. Settling never refuses and is idempotent by generation id."""

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, select, update
from sqlalchemy.dialects import postgresql, sqlite

from gateway import clock
from gateway.clock import Millis
from gateway.database.outbox import Event, announce
from gateway.database.prepared import ByKey, Many
from gateway.database.tables import generations, images
from gateway.ledger.announced import announce_unknown, end_of
from gateway.ledger.caps import Used, add_used, images_of
from gateway.ledger.records import WITHOUT_WORDS, Abandonment, Settlement, State
from gateway.ledger.reserve import Window, add_to_balances, windows_of
from gateway.ledger.transitions import Change
from gateway.ledger.transitions import settle as settled
from gateway.money import Micros

_STANDING = ByKey(
    select(
        generations.c.id,
        generations.c.tenant_id,
        generations.c.state,
        generations.c.bill,
        generations.c.day,
        generations.c.quote,
        generations.c.cost,
        generations.c.provider,
        generations.c.idempotency_key,
        generations.c.account,
        generations.c.reply,
        generations.c.error,
        generations.c.token_id,
        generations.c.images_asked,
        generations.c.images_generated,
        generations.c.model,
        generations.c.announced,
        generations.c.erase_asked_at,
        generations.c.erased_at,
    ),
    (generations.c.id,),
)

_SETTLED = (
    "state",
    "bill",
    "cost",
    "answered_model",
    "provider",
    "account",
    "images_generated",
    "images_failed",
    "settled_at",
    "reply",
    "failure",
    "error",
    "idempotency_key",
    "erased_at",
)
_SETTLE = Many(
    update(generations)
    .where(generations.c.id == bindparam("row"))
    .values({name: bindparam(name) for name in _SETTLED}),
    ("row", *_SETTLED),
)

_NAME_ORIGINAL = update(generations).where(generations.c.id == bindparam("row")).values(repeat_of=bindparam("original"))
_ERASED_WITH = (
    update(generations)
    .where(generations.c.id == bindparam("row"))
    .values(erase_asked_at=bindparam("asked"), erased_at=bindparam("done"), ask=WITHOUT_WORDS)
)
_ABANDON = (
    update(generations)
    .where(generations.c.id == bindparam("row"), generations.c.state == "reserved")
    .values(state="unknown", bill="unknown", failure=bindparam("failure"), account=bindparam("account"))
    .returning(generations.c.id, generations.c.tenant_id, generations.c.model, generations.c.announced)
)


class _Standing(NamedTuple):
    """A generation before it is settled; the columns of the query above."""

    id: str
    tenant_id: str
    state: State
    bill: str | None
    day: str
    quote: Micros
    cost: Micros | None
    provider: str
    idempotency_key: str | None
    account: str | None
    reply: str | None
    error: str | None
    token_id: str | None
    images_asked: int | None
    images_generated: int | None
    model: str
    announced: bool
    erase_asked_at: Millis | None
    erased_at: Millis | None


def settle(connection: Connection, ended: Sequence[Settlement]) -> list[bool]:
    """Put each bill in the place of its hold, in the rows that held it; return for each whether it changed anything.

    A settlement whose generation does not exist changes nothing: its reservation was never committed. The tenants are
    locked already.
    """
    found = _STANDING.fetch(connection, list({(one.id,) for one in ended}))
    rows = {row.id: row for row in map(_Standing._make, found)}
    changes: defaultdict[Window, tuple[Micros, Micros]] = defaultdict(lambda: (0, 0))
    used: dict[str, Used] = {}
    updates: list[dict[str, object]] = []
    kept: list[dict[str, object]] = []
    erased = _repeated(connection, ended)
    events: list[Event] = []
    changed: list[bool] = []
    for one in ended:
        row = rows.pop(one.id, None)
        change = None if row is None else _change(row, one)
        changed.append(change is not None)
        if row is None or change is None:
            continue
        for window in windows_of(row.tenant_id, row.day):
            spent, held = changes[window]
            changes[window] = (spent + change.spent, held + change.held)
        if row.token_id is not None:
            used[row.token_id] = used.get(row.token_id, Used()) + _more_used(row, one, change)
        updates.append(
            {
                "row": one.id,
                "state": change.state,
                "bill": one.bill.kind,
                "cost": one.bill.cost,
                "answered_model": one.answered_model,
                "provider": row.provider if one.provider is None else one.provider,
                "account": row.account if one.account is None else one.account,
                "images_generated": one.images_generated,
                "images_failed": one.images_failed,
                "settled_at": one.settled_at,
                "idempotency_key": None if one.frees_key else row.idempotency_key,
            }
            | _words(row, one, gone=one.of in erased)
        )
        kept.extend(_image_rows(one))
        if row.announced:
            cost, moment = one.bill.cost, one.settled_at
            events.append(end_of(one.id, row.tenant_id, change.state, model=row.model, cost=cost, at=moment))
    if updates:
        _SETTLE.run(connection, updates)
        add_to_balances(connection, changes)
        add_used(connection, used)
    if kept:
        dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
        # A corrected bill comes with images that its first settlement may have brought already.
        connection.execute(dialect.insert(images).on_conflict_do_nothing(), kept)
    announce(connection, events)
    return changed


def _repeated(connection: Connection, ended: Sequence[Settlement]) -> set[str]:
    """Name the generations that some were answered from; return those of them that are erased: so are these, then."""
    answered = [{"row": one.id, "original": one.of} for one in ended if one.of is not None]
    if not answered:
        return set()
    connection.execute(_NAME_ORIGINAL, answered)
    query = select(generations.c.id, generations.c.erase_asked_at).where(
        generations.c.id.in_({one["original"] for one in answered}), generations.c.erase_asked_at.is_not(None)
    )
    erased = {row.id: row.erase_asked_at for row in connection.execute(query)}
    for one in answered:
        if one["original"] in erased:
            moment = erased[one["original"]]
            connection.execute(_ERASED_WITH, {"row": one["row"], "asked": moment, "done": moment})
    return set(erased)


def _words(row: _Standing, one: Settlement, *, gone: bool) -> dict[str, object]:
    """Return what is remembered of an answer. One that comes after its erasure brings no words, and images to erase."""
    if gone:
        return {"reply": None, "failure": None, "error": WITHOUT_WORDS, "erased_at": clock.now()}
    if row.erase_asked_at is None:
        return {"reply": one.reply, "failure": one.failure, "error": one.error, "erased_at": None}
    return {
        "reply": None,
        "failure": None,
        "error": None if one.reply is None and one.error is None else WITHOUT_WORDS,
        "erased_at": None if one.images else row.erased_at,
    }


def abandon(connection: Connection, lost: Sequence[Abandonment]) -> None:
    """Turn reserved generations into unknown ones; their holds stay. Those that ended are left as they are."""
    for one in lost:
        values = {"row": one.id, "failure": one.failure, "account": one.account}
        announce_unknown(connection, connection.execute(_ABANDON, values).all(), clock.now())


def _change(row: _Standing, one: Settlement) -> Change | None:
    # An answer leaves a reply, or what the caller was told; an end without either was decided by hand.
    by_hand = row.reply is None and row.error is None and (one.reply is not None or one.error is not None)
    return settled(row.state, row.quote, row.cost, row.bill, one.bill, by_hand=by_hand)


def _more_used(row: _Standing, one: Settlement, change: Change) -> Used:
    asked = 1 if row.images_asked is None else row.images_asked
    before = images_of(row.state, row.bill, asked, row.images_generated)
    after = images_of(change.state, one.bill.kind, asked, one.images_generated)
    return Used(
        change.spent,
        change.held,
        after.images_spent - before.images_spent,
        after.images_held - before.images_held,
    )


def _image_rows(one: Settlement) -> list[dict[str, object]]:
    return [
        {
            "name": image.name,
            "generation_id": one.id,
            "tenant_id": one.tenant_id,
            "position": position,
            "media_type": image.media_type,
            "size": image.size,
            "width": image.width,
            "height": image.height,
            "sha256": image.sha256,
            "created_at": one.settled_at,
        }
        for position, image in enumerate(one.images)
    ]
