"""The protocol of single flight; tests/contract holds both backends to it."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol, Self, TypeAlias

from gateway.redis_link import Patience
from gateway.replies.entry import Named

OUTCOME_SECONDS = 60
"""For how long an outcome is there for those who were waiting for it."""
FORGOTTEN_SECONDS = 2 * OUTCOME_SECONDS
"""For how long the outcome of a forgotten generation is not taken: Redis may be told of an end so much later."""


@dataclass(frozen=True, slots=True)
class Lead:
    """This ask is the one that goes on: finish it in `finally`."""

    key: str
    token: str
    """The id of the generation that is made."""


@dataclass(frozen=True, slots=True)
class Followed:
    """Another ask went on, and this is the text it finished with."""

    outcome: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Overdue:
    """Another ask was still at work at the deadline. This one cost nothing."""


Turn: TypeAlias = Lead | Followed | Overdue


class Flights(Protocol):
    """Lets one of several equal asks of a tenant go on while the others wait for its outcome. An async context manager:
    inside, leads are kept until they are finished.

    Nobody goes on beside a leader who lives. When its process dies, or stalls, for longer than a lease (10 s), one of
    those who wait leads in its place; so a death costs one more generation at most. Neither call raises for a store
    that is down: then each process lets one ask go on.
    """

    async def lead_or_follow(
        self, tenant_id: str, generation: Named, patience: Patience, *, since: float, deadline: float
    ) -> Turn:
        """Lead, or wait until the deadline for the outcome of the ask that does. Both times are by `time.monotonic`.

        `generation` is the one that this ask would make; its id is used for no other lead.
        `since` is when this ask began, before it looked for a cached reply: an outcome that came later is its own too,
        so nobody falls between a leader's end and the reply that it keeps. (One that came less than a trip to Redis
        earlier cannot be told from it.) The patience is for the first trip; the wait has its own for each look.
        """
        ...

    async def finish(self, lead: Lead, outcome: str | None, patience: Patience) -> None:
        """End a lead: whoever waits gets the outcome, or, with None, one of them leads. A second call does nothing.

        Give an outcome if anything was reserved, whatever became of it; None if nothing was.
        """
        ...

    async def forget(self, tenant_id: str, generations: Iterable[Named], patience: Patience) -> bool:
        """Forget what generations came to, also if they are yet to be finished; return whether that is certain.

        Whoever still waits for one of them leads in its place: what was erased is given to nobody.
        """
        ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def flight_key(tenant_id: str, fingerprint: str) -> str:
    """Name a flight, and the lease of its leader. 1 is the version of the scripts that leases.py calls.

    The tenant's id is the hash tag. Raises ValueError if it has braces, which would break the tag.
    """
    if "{" in tenant_id or "}" in tenant_id:
        raise ValueError("a tenant id with braces would break the hash tag that keeps a tenant on one node")
    return f"igw:flight:1:{{{tenant_id}}}:{fingerprint}"


def lead_of(tenant_id: str, generation: Named) -> Lead:
    """Name the lead that a generation has, or would have."""
    fingerprint, generation_id = generation
    return Lead(flight_key(tenant_id, fingerprint), generation_id)


def outcome_key(key: str) -> str:
    """Name the place of a flight's last outcome."""
    return f"{key}:outcome"


def forgotten_key(lead: Lead) -> str:
    """Name what says for a while that the outcome of a generation may not be told."""
    return f"{lead.key}:forgotten:{lead.token}"
