"""The cache of all processes, in Redis. While Redis is down or slow, every look is a miss and nothing is kept."""

import asyncio
import logging
from collections.abc import Iterable

from gateway.metrics import Metrics
from gateway.redis_link import Patience, RedisLink, RedisUnavailable, Script, Word
from gateway.replies.cache import DROPPED_SECONDS
from gateway.replies.entry import Entry, Named, dropped_key, entry_key

_log = logging.getLogger(__name__)


class SharedReplies:
    """Keeps replies in Redis; see `Replies`. What goes wrong counts as `gateway_redis_fallbacks_total{part="replies"}`.

    No process keeps replies of its own beside them: one that was dropped is gone for all.
    """

    def __init__(self, link: RedisLink, metrics: Metrics) -> None:
        self._link = link
        self._fallbacks = metrics.redis_fallbacks.labels("replies")
        self._keep, self._drop = (Script.packaged("gateway.replies", name) for name in ("keep.lua", "drop.lua"))

    async def look(self, tenant_id: str, fingerprint: str, patience: Patience) -> Entry | None:
        """See `Replies`."""
        key = entry_key(tenant_id, fingerprint)
        try:
            written: bytes | None = await self._link.call("GET", key, patience=patience)
        except RedisUnavailable:
            self._fallbacks.inc()
            return None
        if written is None:
            return None
        try:
            return Entry.read(written)
        except ValueError:
            _log.error("%s holds no reply; it counts as a miss", key)
            return None

    async def keep(self, tenant_id: str, fingerprint: str, entry: Entry, seconds: int, patience: Patience) -> bool:
        """See `Replies`."""
        key = entry_key(tenant_id, fingerprint)
        keys, words = [key, dropped_key(key, entry.generation_id)], (entry.written(), seconds * 1000)
        try:
            kept: int = await self._link.run(self._keep, keys, words, patience=patience)
        except RedisUnavailable:
            self._fallbacks.inc()
            return False
        return kept == 1

    async def drop(self, tenant_id: str, generations: Iterable[Named], patience: Patience) -> bool:
        """See `Replies`."""
        try:
            await asyncio.gather(*(self._dropped(tenant_id, *one, patience) for one in generations))
        except RedisUnavailable:
            self._fallbacks.inc()
            return False
        return True

    async def _dropped(self, tenant_id: str, fingerprint: str, generation_id: str, patience: Patience) -> None:
        key = entry_key(tenant_id, fingerprint)
        words: list[Word] = [generation_id, DROPPED_SECONDS * 1000]
        await self._link.run(self._drop, [key, dropped_key(key, generation_id)], words, patience=patience)
