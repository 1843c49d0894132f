"""Finding a generation: by its id, or by its tenant's idempotency key."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, bindparam, select

from gateway.clock import Millis
from gateway.database.prepared import ByKey
from gateway.database.tables import generations, images
from gateway.ledger.records import State
from gateway.money import Micros


@dataclass(frozen=True, slots=True)
class Found:
    """A generation as it is now. `error` is what the caller was told, as JSON, where there is no reply."""

    id: str
    tenant_id: str
    token_id: str | None
    end_user: str | None
    fingerprint: str
    state: State
    model: str
    created_at: Millis
    cost: Micros | None
    reply: str | None
    error: str | None
    erased: bool
    """Whether its erasure was asked for: its words are gone, and its images are, or will be in a moment."""


@dataclass(frozen=True, slots=True)
class FoundImage:
    """A kept image, as the ledger has it. `sha256` is in hexadecimal."""

    tenant_id: str
    sha256: str
    created_at: Millis
    erased: bool
    """Whether its erasure was asked for: it is not stored or sent any more, and its bytes go."""


_COLUMNS = (
    generations.c.id,
    generations.c.tenant_id,
    generations.c.token_id,
    generations.c.end_user,
    generations.c.fingerprint,
    generations.c.state,
    generations.c.model,
    generations.c.created_at,
    generations.c.cost,
    generations.c.reply,
    generations.c.error,
    generations.c.erase_asked_at.is_not(None).label("erased"),
)
_BY_ID = select(*_COLUMNS).where(generations.c.id == bindparam("id"))
_STATES = ByKey(select(generations.c.id, generations.c.state), (generations.c.id,))
_BY_KEY = select(*_COLUMNS).where(
    generations.c.tenant_id == bindparam("tenant"), generations.c.idempotency_key == bindparam("key")
)
_IMAGE = (
    select(images.c.tenant_id, images.c.sha256, images.c.created_at, generations.c.erase_asked_at.is_not(None))
    .join(generations)
    .where(images.c.name == bindparam("name"))
)


def is_repeat() -> ColumnElement[bool]:
    """Choose the rows of repeats: no generations, they keep what an idempotency key was answered for free."""
    return (generations.c.state == "settled") & (generations.c.bill == "free")


def by_id(connection: Connection, generation_id: str) -> Found | None:
    """Find a generation by its id."""
    return _found(connection.execute(_BY_ID, {"id": generation_id}).first())


def states_of(connection: Connection, generation_ids: Sequence[str]) -> dict[str, State]:
    """Return the states of these generations, as far as they exist."""
    return {row[0]: row[1] for row in _STATES.fetch(connection, [(one,) for one in generation_ids])}


def by_key(connection: Connection, tenant_id: str, idempotency_key: str) -> Found | None:
    """Find the generation that a tenant's idempotency key belongs to."""
    return _found(connection.execute(_BY_KEY, {"tenant": tenant_id, "key": idempotency_key}).first())


def image(connection: Connection, name: str) -> FoundImage | None:
    """Find a kept image by its name."""
    row = connection.execute(_IMAGE, {"name": name}).first()
    return None if row is None else FoundImage(*row)


def _found(row: Row[*tuple[Any, ...]] | None) -> Found | None:
    return None if row is None else Found(*row)
