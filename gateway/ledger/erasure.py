"""Erasure in the ledger: what a caller said and got goes, what it cost stays.

First it is asked for (`erase_asked_at`): in that transaction every word of the caller's leaves the row, and from then
on the row shows nothing of it. When cached replies and bytes are gone too, it is done (`erased_at`); until then, while
Redis or the image store is away, whoever has a link of an image can still follow it. What is left is money, model,
counts, day and whose it was, the names and digests of the images, and the fingerprint, by which a repeat of the
idempotency key is known: it is never paid for again.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from sqlalchemy import Connection, Select, case, func, null, select, update

from gateway.clock import Millis
from gateway.database.tables import generations, images, tenants
from gateway.ledger.records import WITHOUT_WORDS
from gateway.ledger.reserve import lock_tenants

AT_ONCE = 200
"""The most that are read, or changed in one transaction: reservations of the tenant wait while it runs."""


@dataclass(frozen=True, slots=True)
class Doomed:
    """A generation whose erasure was asked for, and what is still to go."""

    id: str
    tenant_id: str
    fingerprint: str
    asked_at: Millis
    images: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Page:
    """Some generations of a tenant, the oldest first, that may be asked for."""

    ids: Sequence[str]
    running: int
    """How many were left out because they are not over."""
    last: str | None
    """Where the next page begins; where this one began, if there is nothing on it."""
    whole: bool
    """Whether there may be a next one."""


def ask(connection: Connection, tenant_id: str, ids: Sequence[str], moment: Millis) -> int:
    """Ask for the erasure of a tenant's generations, and of the repeats that were answered with their replies.

    Returns how many that were; those still reserved, and those asked for earlier, are left as they are.
    """
    if not ids:
        return 0
    lock_tenants(connection, [tenant_id])
    answered = generations.c.reply.is_not(None) | generations.c.error.is_not(None)
    changed = connection.execute(
        update(generations)
        .where(
            generations.c.id.in_(ids) | generations.c.repeat_of.in_(ids),
            generations.c.tenant_id == tenant_id,
            generations.c.state != "reserved",
            generations.c.erase_asked_at.is_(None),
        )
        .values(
            erase_asked_at=moment,
            ask=WITHOUT_WORDS,
            reply=None,
            failure=None,
            error=case((answered, WITHOUT_WORDS), else_=null()),
        )
    )
    return changed.rowcount


def original(connection: Connection, generation_id: str) -> str:
    """Return the generation that a repeat was answered from; itself for any other."""
    repeated: str | None = connection.scalar(
        select(generations.c.repeat_of).where(generations.c.id == generation_id, generations.c.repeat_of.is_not(None))
    )
    return generation_id if repeated is None else repeated


def page(
    connection: Connection, tenant_id: str, after: str | None, before: Millis, *, end_user: str | None = None
) -> Page:
    """Return a tenant's generations that were begun before a moment and are not asked for yet, oldest first."""
    row = generations.c
    query = (
        select(row.id, row.created_at, row.state, row.end_user)
        .where(row.tenant_id == tenant_id, row.erase_asked_at.is_(None))
        .order_by(row.id)
        .limit(AT_ONCE)
    )
    rows = connection.execute(query if after is None else query.where(row.id > after)).all()
    # Ids are made in the order of time, give or take a moment: what comes after a young one has its turn later.
    old = list(takewhile(lambda one: one.created_at < before, rows))
    theirs = [one for one in old if end_user in (None, one.end_user)]
    return Page(
        [one.id for one in theirs if one.state != "reserved"],
        sum(one.state == "reserved" for one in theirs),
        old[-1].id if old else after,
        whole=len(old) == AT_ONCE,
    )


def swept_to(connection: Connection, tenant_id: str) -> str | None:
    """Return up to which generation retention has asked for all of a tenant's."""
    found: str | None = connection.scalar(select(tenants.c.swept_to).where(tenants.c.id == tenant_id))
    return found


def sweep(connection: Connection, tenant_id: str, ids: Sequence[str], to: str | None, moment: Millis) -> int:
    """Ask for what is past its retention, and remember how far that went; return how many."""
    asked = ask(connection, tenant_id, ids, moment)
    connection.execute(update(tenants).where(tenants.c.id == tenant_id).values(swept_to=to))
    return asked


def waiting(connection: Connection, *, tenant_id: str | None = None) -> list[Doomed]:
    """Return what was asked for and is not done, of all tenants or of one: the oldest, at most AT_ONCE."""
    row = generations.c
    query = (
        select(row.id, row.tenant_id, row.fingerprint, row.erase_asked_at)
        .where(row.erase_asked_at.is_not(None), row.erased_at.is_(None))
        .order_by(row.erase_asked_at, row.id)
        .limit(AT_ONCE)
    )
    return _doomed(connection, query if tenant_id is None else query.where(row.tenant_id == tenant_id))


def waiting_of(connection: Connection, generation_id: str) -> list[Doomed]:
    """Return what is not done yet of a generation and its repeats: at most AT_ONCE of these, the sweeper does more."""
    row = generations.c
    own = row.id == generation_id
    unfinished = row.erase_asked_at.is_not(None) & row.erased_at.is_(None)
    columns = (row.id, row.tenant_id, row.fingerprint, row.erase_asked_at)
    return [
        one
        for which in (own, row.repeat_of == generation_id)
        for one in _doomed(connection, select(*columns).where(which, unfinished).limit(AT_ONCE))
    ]


def count_waiting(connection: Connection, tenant_id: str | None = None) -> int:
    """Return how many are not done yet: of all tenants, or of one."""
    row = generations.c
    query = select(func.count()).where(row.erase_asked_at.is_not(None), row.erased_at.is_(None))
    return connection.scalar(query if tenant_id is None else query.where(row.tenant_id == tenant_id)) or 0


def done(connection: Connection, gone: Sequence[Doomed], moment: Millis) -> int:
    """Mark what is gone; return how many are. One that was settled late meanwhile has new images, and waits on."""
    lock_tenants(connection, [one.tenant_id for one in gone])
    standing = _images(connection, [one.id for one in gone])
    finished = [one.id for one in gone if set(standing[one.id]) <= set(one.images)]
    connection.execute(
        update(generations)
        .where(generations.c.id.in_(finished), generations.c.erased_at.is_(None))
        .values(erased_at=moment)
    )
    return len(finished)


def erased_images(connection: Connection, names: Sequence[str]) -> set[str]:
    """Return which of these images belong to a generation whose erasure was asked for."""
    query = select(images.c.name).join(generations).where(images.c.name.in_(names))
    return set(connection.scalars(query.where(generations.c.erase_asked_at.is_not(None))))


def _doomed(connection: Connection, query: Select[*tuple[Any, ...]]) -> list[Doomed]:
    rows = connection.execute(query).all()
    names = _images(connection, [row.id for row in rows])
    return [Doomed(row.id, row.tenant_id, row.fingerprint, row.erase_asked_at, tuple(names[row.id])) for row in rows]


def _images(connection: Connection, ids: Sequence[str]) -> defaultdict[str, list[str]]:
    names: defaultdict[str, list[str]] = defaultdict(list)
    for row in connection.execute(select(images.c.generation_id, images.c.name).where(images.c.generation_id.in_(ids))):
        names[row.generation_id].append(row.name)
    return names
