"""The cache of the one process there is, when there is no Redis: bounded in bytes, least recently used out first."""

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from gateway.redis_link import Patience
from gateway.replies.cache import DROPPED_SECONDS
from gateway.replies.entry import Entry, Named, dropped_key, entry_key

BYTES_MAX = 64 * 1024 * 1024
_OVERHEAD = 1024
"""Bytes that a place takes beside its text: keys, objects, numbers. Generous."""


@dataclass(frozen=True, slots=True)
class _Place:
    entry: Entry | None
    """None where a generation's reply was dropped a moment ago."""
    until: float
    size: int


class LocalReplies:
    """Keeps replies in memory; see `Replies`. Its methods await nothing, so two calls never interleave."""

    def __init__(self, *, bytes_max: int = BYTES_MAX, clock: Callable[[], float] = time.monotonic) -> None:
        self._bytes_max = bytes_max
        self._clock = clock
        self._places: OrderedDict[str, _Place] = OrderedDict()
        self._bytes = 0

    async def look(self, tenant_id: str, fingerprint: str, patience: Patience) -> Entry | None:  # noqa: ARG002 -- see Replies
        """See `Replies`."""
        key = entry_key(tenant_id, fingerprint)
        place = self._living(key)
        if place is None:
            return None
        self._places.move_to_end(key)
        return place.entry

    async def keep(self, tenant_id: str, fingerprint: str, entry: Entry, seconds: int, patience: Patience) -> bool:  # noqa: ARG002 -- see Replies
        """See `Replies`."""
        key = entry_key(tenant_id, fingerprint)
        size = len(entry.text.encode()) + _OVERHEAD
        if size > self._bytes_max or self._living(dropped_key(key, entry.generation_id)) is not None:
            return False
        self._put(key, _Place(entry, self._clock() + seconds, size))
        return True

    async def drop(self, tenant_id: str, generations: Iterable[Named], patience: Patience) -> bool:  # noqa: ARG002 -- see Replies
        """See `Replies`."""
        for fingerprint, generation_id in generations:
            key = entry_key(tenant_id, fingerprint)
            place = self._places.get(key)
            if place is not None and place.entry is not None and place.entry.generation_id == generation_id:
                self._remove(key)
            dropped = _Place(None, self._clock() + DROPPED_SECONDS, _OVERHEAD)
            self._put(dropped_key(key, generation_id), dropped)
        return True

    def _living(self, key: str) -> _Place | None:
        place = self._places.get(key)
        if place is not None and place.until <= self._clock():
            self._remove(key)
            return None
        return place

    def _put(self, key: str, place: _Place) -> None:
        self._remove(key)
        self._places[key] = place
        self._bytes += place.size
        while self._bytes > self._bytes_max:
            self._remove(next(iter(self._places)))

    def _remove(self, key: str) -> None:
        place = self._places.pop(key, None)
        if place is not None:
            self._bytes -= place.size
