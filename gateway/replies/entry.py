"""A cached reply, and how it is written for Redis."""

from dataclasses import dataclass, field
from typing import Self, TypeAlias

from gateway.clock import Millis
from gateway.money import Micros

Named: TypeAlias = tuple[str, str]
"""A generation as caches know it: the fingerprint of its ask, and its id."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A reply that was paid for once. `text` is for whoever made it to read: names of kept images, never bytes."""

    text: str = field(repr=False)
    generation_id: str
    stored_at: Millis
    cost: Micros
    """What the generation cost: what a hit saves."""

    def age(self, now: Millis) -> int:
        """Return the whole seconds since it was stored; 0 if this machine's clock is behind the one that stored it."""
        return max(0, now - self.stored_at) // 1000

    def written(self) -> bytes:
        """Return what is kept in Redis: a line of figures, then the text."""
        return f"{self.stored_at} {self.cost} {self.generation_id}\n{self.text}".encode()

    @classmethod
    def read(cls, written: bytes) -> Self:
        """Read what `written` gave. Raises ValueError if it did not come from there."""
        figures, _, text = written.decode().partition("\n")
        stored_at, cost, generation_id = figures.split(" ")
        return cls(text, generation_id, int(stored_at), int(cost))


def entry_key(tenant_id: str, fingerprint: str) -> str:
    """Name the place of a cached reply. The tenant's id is the hash tag: what it asks for is on one node of a cluster.

    1 is the version of what is kept there. Raises ValueError for a tenant id with braces, which would break the tag.
    """
    if "{" in tenant_id or "}" in tenant_id:
        raise ValueError("a tenant id with braces would break the hash tag that keeps a tenant on one node")
    return f"igw:replies:1:{{{tenant_id}}}:{fingerprint}"


def dropped_key(key: str, generation_id: str) -> str:
    """Name what says for a minute that a generation's reply may not be kept in this place."""
    return f"{key}:dropped:{generation_id}"
