"""Whether the store has what the ledger says is kept: images are read again and hashed."""

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from gateway.database.engine import Database
from gateway.images.store import Store
from gateway.ledger.erasure import erased_images
from gateway.ledger.kept import KeptRow, sample

AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class Damage:
    """An image that is not in the store as it was kept."""

    image: KeptRow
    kind: Literal["missing", "altered"]

    def shown(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            "image": self.image.name,
            "tenant": self.image.tenant,
            "generation": self.image.generation_id,
            "damage": self.kind,
        }


async def verify(database: Database, store: Store, count: int) -> tuple[int, Sequence[Damage]]:
    """Look at so many kept images, drawn at random; return how many those were, and what is wrong with which.

    Raises LedgerUnavailable, and StoreUnavailable: then nothing is known.
    """
    drawn = await database.read(lambda sql: sample(sql, count))
    turns = asyncio.Semaphore(AT_ONCE)

    async def look(row: KeptRow) -> Damage | None:
        async with turns:
            return await _damage(store, row)

    found = [one for one in await asyncio.gather(*map(look, drawn)) if one is not None]
    # What was erased since it was drawn is not missing.
    erased = await database.read(lambda sql: erased_images(sql, [one.image.name for one in found]))
    return len(drawn), [one for one in found if one.image.name not in erased]


async def _damage(store: Store, row: KeptRow) -> Damage | None:
    image = await store.open(row.name)
    if image is None:
        return Damage(row, "missing")
    digest = hashlib.sha256()
    async for piece in image.read():
        digest.update(piece)
    return None if digest.hexdigest() == row.sha256 else Damage(row, "altered")
