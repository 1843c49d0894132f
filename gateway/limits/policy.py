"""What is limited, and the arithmetic of it: pure, in integer microseconds. `take.lua` computes the same.

A rate is enforced by GCRA (the generic cell rate algorithm, ITU-T I.371). Its *level* is how far the theoretical
arrival time lies ahead of now: 0 when nothing was asked for of late, `Rate.depth` when the burst is used up. It sinks
by a microsecond each microsecond; one admission raises it by `Rate.interval`. The level of a concurrency limit is how
many generations are in progress.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, TypeAlias

_MINUTE = 60_000_000
PER_MINUTE_MAX = 1_000_000
"""Above this, the interval in whole microseconds would be off by more than 1.7 %."""
BURST_MAX = 1_000_000
"""With any rate, the depth stays far below 2^53 microseconds, up to which Lua's numbers are exact."""

LimitName: TypeAlias = Literal["requests", "images", "concurrency", "key-requests", "key-images", "key-concurrency"]
"""What a limit is called in headers and metrics: those of the tenant plainly, those of the key alone with `key-`."""


@dataclass(frozen=True, slots=True)
class Rate:
    """So many per minute, of which `burst` (all of them when None) may come at once."""

    per_minute: int
    burst: int | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.per_minute <= PER_MINUTE_MAX:
            raise ValueError(f"a rate must be from 1 to {PER_MINUTE_MAX} per minute")
        if self.burst is not None and not 1 <= self.burst <= BURST_MAX:
            raise ValueError(f"a burst must be from 1 to {BURST_MAX}")

    @property
    def size(self) -> int:
        """How many may come at once."""
        return self.per_minute if self.burst is None else self.burst

    @property
    def interval(self) -> int:
        """Microseconds from one to the next, rounded up: never more than the limit."""
        return -(-_MINUTE // self.per_minute)

    @property
    def depth(self) -> int:
        """The highest level, in microseconds."""
        return self.size * self.interval


@dataclass(frozen=True, slots=True, eq=False)  # made once for many requests: compared, and found again, by itself
class Scope:
    """The limits of a tenant or of one of its keys; None is no limit. A shadow scope counts but never refuses.

    `name` is the tenant's name for metrics; `id` is unique among tenants and keys and holds no braces.
    """

    id: str
    name: str
    requests: Rate | None = None
    images: Rate | None = None
    concurrency: int | None = None
    shadow: bool = False

    def __post_init__(self) -> None:
        if "{" in self.id or "}" in self.id:
            raise ValueError("an id with braces would break the hash tag that keeps a tenant on one node")
        if self.concurrency is not None and self.concurrency < 1:
            raise ValueError("a concurrency limit must be at least 1")


@dataclass(frozen=True, slots=True)
class RateCharge:
    """What one call asks of one rate, or of one process's share of it."""

    name: LimitName
    key: str
    rate: Rate
    cost: int
    enforced: bool
    processes: int = 1

    @property
    def interval(self) -> int:
        """How far one raises the level. A share's level is the whole's: one process raises it for all, so it sinks
        as it would if the others did the same, and a level of the whole can be carried over as it is."""
        return self.rate.interval * self.processes

    @property
    def depth(self) -> int:
        """How high the level may be. A share rounds up, and is never less than what one call may ask for."""
        share = -(-self.rate.size // self.processes)
        if self.cost <= self.rate.size:
            share = max(share, self.cost)
        return max(self.rate.depth, share * self.interval)

    def fits(self, level: int) -> bool:
        """Whether there is room for the cost at this level."""
        return level + self.cost * self.interval <= self.depth


@dataclass(frozen=True, slots=True)
class EntryCharge:
    """One place among those in progress, or among one process's share of them."""

    name: LimitName
    key: str
    limit: int
    enforced: bool
    processes: int = 1

    @property
    def places(self) -> int:
        """How many there are. A share rounds up."""
        return -(-self.limit // self.processes)

    def fits(self, level: int) -> bool:
        """Whether there is a free place."""
        return level < self.places


Charge: TypeAlias = RateCharge | EntryCharge


@lru_cache(maxsize=1024)  # scopes are the same for many requests
def request_charges(tenant: Scope, key: Scope | None) -> tuple[Charge, ...]:
    """List what a request costs: one of `requests`, of the tenant and of the key."""
    return tuple(
        _rate_charge(tenant, scope, "key-requests" if own else "requests", scope.requests, 1)
        for scope, own in _scopes(tenant, key)
        if scope.requests is not None
    )


@lru_cache(maxsize=1024)
def entry_charges(tenant: Scope, key: Scope | None, images: int) -> tuple[Charge, ...]:
    """List what a generation costs: its images, and a place among those in progress, of the tenant and of the key."""
    charges: list[Charge] = []
    for scope, own in _scopes(tenant, key):
        if scope.images is not None:
            charges.append(_rate_charge(tenant, scope, "key-images" if own else "images", scope.images, images))
        if scope.concurrency is not None:
            name: LimitName = "key-concurrency" if own else "concurrency"
            key_name, limit = _key(tenant, scope, "concurrency"), scope.concurrency
            charges.append(EntryCharge(name, key_name, limit, not scope.shadow))
    return tuple(charges)


def _rate_charge(tenant: Scope, scope: Scope, name: LimitName, rate: Rate, cost: int) -> RateCharge:
    key = _key(tenant, scope, name.removeprefix("key-"))
    return RateCharge(name, key, rate, cost, not scope.shadow)


def record_key(tenant: Scope, call: Literal["take", "enter"], id: str) -> str:  # noqa: A002 -- the word of the house
    """Name the place where the verdict on an id is remembered."""
    return f"igw:limits:1:{{{tenant.id}}}:{call}:{id}"


def _key(tenant: Scope, scope: Scope, what: str) -> str:
    # The tenant's id is the hash tag: all that one call touches is on one node of a cluster. 1 is take.lua's version.
    return f"igw:limits:1:{{{tenant.id}}}:{what}:{scope.id}"


def _scopes(tenant: Scope, key: Scope | None) -> Iterator[tuple[Scope, bool]]:
    yield tenant, False
    if key is not None:
        yield key, True
