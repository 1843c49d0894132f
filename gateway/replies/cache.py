"""The protocol of both caches; tests/contract holds them to it."""

from collections.abc import Iterable
from typing import Protocol

from gateway.redis_link import Patience
from gateway.replies.entry import Entry, Named

DROPPED_SECONDS = 60
"""For how long the reply of a dropped generation is not kept: one that was on its way must not come in after."""


class Replies(Protocol):
    """Cached replies by tenant and fingerprint, which covers all that the reply depends on. No call raises for a store
    that is down.

    Each call sends its one command to Redis at once, so what else is asked for in the same turn of the event loop
    (`asyncio.gather`) shares its trip.
    """

    async def look(self, tenant_id: str, fingerprint: str, patience: Patience) -> Entry | None:
        """Return the reply stored for a fingerprint, or None: there is none, or the store does not answer."""
        ...

    async def keep(self, tenant_id: str, fingerprint: str, entry: Entry, seconds: int, patience: Patience) -> bool:
        """Store a reply for so many seconds, in place of an earlier one. Return whether it is stored for certain.

        Call it when the reply's images are kept and its generation is settled. For a minute after that generation was
        dropped, its reply is not stored.
        """
        ...

    async def drop(self, tenant_id: str, generations: Iterable[Named], patience: Patience) -> bool:
        """Forget the replies of generations, before what they name is erased; a later generation's reply stays.

        Return whether all are gone for certain; if not, try again. The fingerprint of every generation is in its ledger
        row. Some hundreds at a time: one patience must do for all.
        """
        ...
