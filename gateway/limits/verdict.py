"""What a limiter answers: pure, made from the charges of a call and the levels they met."""

from collections.abc import Sequence
from dataclasses import dataclass

from gateway.limits.policy import Charge, EntryCharge, LimitName, RateCharge

_SECOND = 1_000_000
_RUNNING_RETRY = 1
"""Seconds after which a refusal by concurrency may be tried again: nobody knows when a generation will end."""


@dataclass(frozen=True, slots=True)
class Standing:
    """One limit in force and what is left of it, for the headers."""

    name: LimitName
    quota: int
    remaining: int
    window: int | None
    """Seconds for which the quota is given; None for concurrency."""
    reset: int | None
    """Whole seconds until there is more, rounded up; None when all is left, and for concurrency."""
    violated: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a call may go on.

    `retry_after` is in whole seconds, rounded up, so that a client that waits exactly so long has room, unless others
    take it. It is None when the call was allowed, and also when it can never be: it asks for more images than the
    burst. `violated` names every limit that was exceeded, those in shadow mode too.
    """

    allowed: bool
    refused_by: LimitName | None = None
    retry_after: int | None = None
    standings: tuple[Standing, ...] = ()
    violated: tuple[LimitName, ...] = ()


@dataclass(frozen=True, slots=True)
class Met:
    """One charge, the level after the call, and whether the charge did not fit."""

    charge: Charge
    level: int
    exceeded: bool


def judge(met: Sequence[Met]) -> Verdict:
    """Make the verdict. Of several limits that refuse, the one that must be waited for longest is named."""
    refusing = [one for one in met if one.exceeded and one.charge.enforced]
    waits = [(_wait(one), one.charge.name) for one in refusing]
    never = next((name for wait, name in waits if wait is None), None)
    longest = max(((wait, name) for wait, name in waits if wait is not None), key=lambda pair: pair[0], default=None)
    return Verdict(
        allowed=not refusing,
        refused_by=never if never is not None else longest[1] if longest is not None else None,
        retry_after=longest[0] if longest is not None and never is None else None,
        standings=tuple(_standing(one) for one in met if one.charge.enforced),
        violated=tuple(one.charge.name for one in met if one.exceeded),
    )


def _wait(met: Met) -> int | None:
    """Return the whole seconds until the charge fits, or None if it never will."""
    match met.charge:
        case EntryCharge():
            return _RUNNING_RETRY
        case RateCharge(cost=cost) as charge:
            if cost > charge.rate.size:
                return None
            return max(1, _seconds(met.level + cost * charge.interval - charge.depth))


def _standing(met: Met) -> Standing:
    match met.charge:
        case EntryCharge(name=name, limit=limit) as charge:
            return Standing(name, limit, max(0, charge.places - met.level), None, None, met.exceeded)
        case RateCharge(name=name) as charge:
            remaining = max(0, (charge.depth - met.level) // charge.interval)
            more = met.level + (remaining + 1) * charge.interval - charge.depth
            reset = None if met.level == 0 else max(1, _seconds(more))
            return Standing(name, charge.rate.per_minute, remaining, 60, reset, met.exceeded)


def _seconds(micros: int) -> int:
    return -(-micros // _SECOND)
