"""What is limited, and the arithmetic of it: pure, in integer microseconds. `take.lua` computes the same.

A rate is enforced by GCRA (the generic cell rate algorithm, ITU-T I.371). Its *level* is how far the theoretical
arrival time lies ahead of now: 0 when nothing was asked for of late, `Rate.depth` when the burst is used up. It sinks
by a microsecond each microsecond; one admission raises it by `Rate.interval`. The level of a concurrency limit is how
many generations are in progress.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, TypeAlias

_MINUTE = 60_000_000
PER_MINUTE_MAX = 1_000_000
"""Above this, the interval in whole microseconds would be off by more than 1.7 %."""
BURST_MAX = 1_000_000
"""With any rate, the depth stays far below 2^53 microseconds, up to which Lua's numbers are exact."""

LimitName: TypeAlias = Literal[
    "requests",
    "images",
    "concurrency",
    "key-requests",
    "key-images",
    "key-concurrency",
    "token-requests",
    "token-images",
    "token-concurrency",
]
"""What a limit is called in headers and metrics: those of the tenant plainly, those of a key or token with its kind."""

Limited: TypeAlias = Literal["requests", "images", "concurrency"]
ScopeKind: TypeAlias = Literal["tenant", "key", "token"]

_NAMES: dict[tuple[ScopeKind, Limited], LimitName] = {
    ("tenant", "requests"): "requests",
    ("tenant", "images"): "images",
    ("tenant", "concurrency"): "concurrency",
    ("key", "requests"): "key-requests",
    ("key", "images"): "key-images",
    ("key", "concurrency"): "key-concurrency",
    ("token", "requests"): "token-requests",
    ("token", "images"): "token-images",
    ("token", "concurrency"): "token-concurrency",
}


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
    """The limits of a tenant, a key or a client token; None is no limit. A shadow scope counts but never refuses.

    `name` is the tenant's name for metrics; `id` is unique among all of them and holds no braces.
    """

    id: str
    name: str
    requests: Rate | None = None
    images: Rate | None = None
    concurrency: int | None = None
    shadow: bool = False
    kind: ScopeKind = "tenant"

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


Scopes: TypeAlias = tuple[Scope, ...]
"""The limits that hold for one caller: the tenant's first, then those within it."""


@lru_cache(maxsize=1024)  # scopes are the same for many requests
def request_charges(scopes: Scopes) -> tuple[Charge, ...]:
    """List what a request costs: one of `requests`, in each scope."""
    return tuple(
        _rate_charge(scopes, scope, "requests", scope.requests, 1) for scope in scopes if scope.requests is not None
    )


@lru_cache(maxsize=1024)
def entry_charges(scopes: Scopes, images: int) -> tuple[Charge, ...]:
    """List what a generation costs: its images, and a place among those in progress, in each scope."""
    charges: list[Charge] = []
    for scope in scopes:
        if scope.images is not None:
            charges.append(_rate_charge(scopes, scope, "images", scope.images, images))
        if scope.concurrency is not None:
            name, key = _NAMES[scope.kind, "concurrency"], _key(scopes, scope, "concurrency")
            charges.append(EntryCharge(name, key, scope.concurrency, not scope.shadow))
    return tuple(charges)


def _rate_charge(scopes: Scopes, scope: Scope, what: Limited, rate: Rate, cost: int) -> RateCharge:
    return RateCharge(_NAMES[scope.kind, what], _key(scopes, scope, what), rate, cost, not scope.shadow)


def record_key(scopes: Scopes, call: Literal["take", "enter"], id: str) -> str:  # noqa: A002 -- the word of the house
    """Name the place where the verdict on an id is remembered."""
    return f"igw:limits:1:{{{scopes[0].id}}}:{call}:{id}"


def _key(scopes: Scopes, scope: Scope, what: Limited) -> str:
    # The tenant's id is the hash tag: all that one call touches is on one node of a cluster. 1 is take.lua's version.
    return f"igw:limits:1:{{{scopes[0].id}}}:{what}:{scope.id}"
