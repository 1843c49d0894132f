"""A tenant's history: its generations, newest first, a page at a time.

An id tells the time, so the pages follow the ids (keyset): a page costs the same however far down it is, and what
begins meanwhile moves nothing. `generations_of_tenant`, `generations_of_model` and `generations_open` carry them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, not_, select

from gateway import clock
from gateway.clock import Millis
from gateway.database.tables import generations
from gateway.ids import least_id
from gateway.ledger.find import is_repeat
from gateway.ledger.records import State
from gateway.money import Micros, format_yuan

LONGEST_BEFORE = 3_600_000
"""An id is made when its request comes; at most so many milliseconds later, in fact minutes, it is reserved."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """Which generations: a tenant's, those reserved from `since` on and before `until`, of a model, in a state.

    `after` is the id of the last one of the page before.
    """

    tenant_id: str
    since: Millis | None = None
    until: Millis | None = None
    model: str | None = None
    state: State | None = None
    after: str | None = None
    limit: int = 100


@dataclass(frozen=True, slots=True)
class Past:
    """A generation as the history shows it; `cost` and images are None until it has ended."""

    id: str
    state: State
    created_at: Millis
    model: str
    provider: str
    key_id: str
    end_user: str | None
    cost: Micros | None
    images_generated: int | None
    images_failed: int | None

    def shown(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            "id": self.id,
            "state": self.state,
            "created_at": clock.iso(self.created_at),
            "model": self.model,
            "provider": self.provider,
            "key": self.key_id,
            "user": self.end_user,
            "cost_yuan": None if self.cost is None else format_yuan(self.cost),
            "images_generated": self.images_generated,
            "images_failed": self.images_failed,
        }


def history(connection: Connection, chosen: Chosen) -> tuple[Sequence[Past], bool]:
    """Return the newest that are chosen, at most `limit`, and whether there are more. A repeat is no generation."""
    row = generations.c
    columns = (
        row.id,
        row.state,
        row.created_at,
        row.model,
        row.provider,
        row.key_id,
        row.end_user,
        row.cost,
        row.images_generated,
        row.images_failed,
    )
    query = select(*columns).where(row.tenant_id == chosen.tenant_id, not_(is_repeat()))
    if chosen.since is not None:
        query = query.where(
            row.created_at >= chosen.since, row.id >= least_id("gen", max(0, chosen.since - LONGEST_BEFORE))
        )
    if chosen.until is not None:
        query = query.where(row.created_at < chosen.until, row.id < least_id("gen", max(0, chosen.until)))
    if chosen.model is not None:
        query = query.where(row.model == chosen.model)
    if chosen.state is not None:
        query = query.where(row.state == chosen.state)
    if chosen.after is not None:
        query = query.where(row.id < chosen.after)
    found = connection.execute(query.order_by(row.id.desc()).limit(chosen.limit + 1)).mappings().all()
    return [Past(**one) for one in found[: chosen.limit]], len(found) > chosen.limit
