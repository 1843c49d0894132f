"""The protocol of single flight; tests/contract holds both backends to it."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol, Self, TypeAlias

from gateway.redis_link import Patience

OUTCOME_SECONDS = 60
"""For how long an outcome is there for those who were waiting for it."""


@dataclass(frozen=True, slots=True)
class Lead:
    """This ask is the one that goes on: finish it in `finally`."""

    key: str
    token: str


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
        self, tenant_id: str, fingerprint: str, patience: Patience, *, since: float, deadline: float
    ) -> Turn:
        """Lead, or wait until the deadline for the outcome of the ask that does. Both times are by `time.monotonic`.

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

    async def forget(self, tenant_id: str, fingerprints: Iterable[str], patience: Patience) -> bool:
        """Forget the outcomes that are still there for those who waited. Return whether all are gone for certain."""
        ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def flight_key(tenant_id: str, fingerprint: str) -> str:
    """Name a flight, and the lease of its leader. 1 is the version of lead.lua, renew.lua and finish.lua.

    The tenant's id is the hash tag. Raises ValueError if it has braces, which would break the tag.
    """
    if "{" in tenant_id or "}" in tenant_id:
        raise ValueError("a tenant id with braces would break the hash tag that keeps a tenant on one node")
    return f"igw:flight:1:{{{tenant_id}}}:{fingerprint}"


def outcome_key(key: str) -> str:
    """Name the place of a flight's last outcome."""
    return f"{key}:outcome"
