"""Which images the ledger says are kept."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from gateway.database.tables import generations, images, tenants


@dataclass(frozen=True, slots=True)
class KeptRow:
    """An image that ought to be in the store, with the size and digest that it was kept with."""

    name: str
    tenant: str
    generation_id: str
    size: int
    sha256: str


def sample(connection: Connection, count: int) -> Sequence[KeptRow]:
    """Return so many kept images, drawn at random; all if there are no more."""
    columns = (images.c.name, tenants.c.name.label("tenant"), images.c.generation_id, images.c.size, images.c.sha256)
    query = (
        select(*columns)
        .join(generations, generations.c.id == images.c.generation_id)
        .join(tenants, tenants.c.id == images.c.tenant_id)
        .where(generations.c.erase_asked_at.is_(None))
        .order_by(func.random())
        .limit(count)
    )
    return [KeptRow(*row) for row in connection.execute(query)]
