"""The limiter of one process: alone without Redis; beside Redis its mirror, and its stand-in while Redis is gone."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Self

from gateway.limits.holdings import Holdings
from gateway.limits.policy import (
    Charge,
    EntryCharge,
    RateCharge,
    Scope,
    Scopes,
    entry_charges,
    record_key,
    request_charges,
)
from gateway.limits.verdict import Met, Verdict, judge
from gateway.metrics import Metrics
from gateway.redis_link import Patience

_REMEMBERED = 60_000_000
_REMEMBERED_MOST = 4096
"""Nobody repeats a call within a process; a minute of them all would be a hundred thousand objects to walk over."""

_SWEEP_EVERY = 10_000_000


def monotonic_micros() -> int:
    """Return a clock that never goes back, in microseconds."""
    return time.monotonic_ns() // 1000


class LocalLimiter:
    """Enforces one process's share of every limit; all of it when there is one process.

    Its methods decide without awaiting anything, so two calls never interleave.
    """

    def __init__(self, metrics: Metrics, *, processes: int = 1, clock: Callable[[], int] = monotonic_micros) -> None:
        self._metrics = metrics
        self._processes = processes
        self._clock = clock
        self._arrivals: dict[str, int] = {}
        """The theoretical arrival time of each rate's key, by the clock."""
        self._remembered: dict[str, tuple[int, Verdict]] = {}
        """Verdicts by record key, oldest first, with the time until which they are remembered."""
        self._next_sweep = clock() + _SWEEP_EVERY
        self.holdings = Holdings()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to give back: the places end with the process."""

    async def take(self, scopes: Scopes, id: str, patience: Patience) -> Verdict:  # noqa: A002, ARG002 -- see Limiter
        """See `Limiter`."""
        return self.decide(scopes[0], request_charges(scopes), record_key(scopes, "take", id), id)

    async def enter(self, scopes: Scopes, id: str, images: int, patience: Patience) -> Verdict:  # noqa: A002, ARG002 -- see Limiter
        """See `Limiter`."""
        return self.decide(scopes[0], entry_charges(scopes, images), record_key(scopes, "enter", id), id)

    async def leave(self, id: str, patience: Patience) -> None:  # noqa: A002, ARG002 -- see Limiter
        """See `Limiter`."""
        self.holdings.remove(id)

    def decide(self, tenant: Scope, charges: Sequence[Charge], record: str, id: str) -> Verdict:  # noqa: A002 -- the word of the house
        """Charge all or nothing, as take.lua does, against this process's share."""
        if not charges:
            return Verdict(allowed=True)
        now = self._clock()
        self._sweep(now)
        if record in self._remembered:
            return self._remembered[record][1]
        shares = charges
        if self._processes > 1:
            shares = [replace(charge, processes=self._processes) for charge in charges]
        levels = [self._level(charge, now) for charge in shares]
        exceeded = [not charge.fits(level) for charge, level in zip(shares, levels, strict=True)]
        allowed = not any(over and charge.enforced for over, charge in zip(exceeded, shares, strict=True))
        if allowed:
            levels = [
                level if over else self._charge(charge, level, now)
                for charge, level, over in zip(shares, levels, exceeded, strict=True)
            ]
            fitted = [charge for charge, over in zip(shares, exceeded, strict=True) if not over]
            self.holdings.add(id, [charge.key for charge in fitted if isinstance(charge, EntryCharge)])
        verdict = judge([Met(*three) for three in zip(shares, levels, exceeded, strict=True)])
        if allowed:
            self._remembered[record] = (now + _REMEMBERED, verdict)
            if len(self._remembered) > _REMEMBERED_MOST:
                del self._remembered[next(iter(self._remembered))]
        count(self._metrics, tenant, verdict)
        return verdict

    def level(self, charge: RateCharge) -> int:
        """Return the level of a rate as this process knows it, in microseconds."""
        return min(max(0, self._arrivals.get(charge.key, 0) - self._clock()), charge.depth)

    def follow(self, charge: RateCharge, level: int, asked_at: int) -> None:
        """Take over the level that Redis found, dated to when it was asked: never later than when it looked."""
        # Answers may arrive out of order; each is a level that was surely reached, so the highest stands. Unless the
        # limit was lowered: what is above its depth is no level of its.
        known = min(self._arrivals.get(charge.key, 0), asked_at + charge.depth)
        self._arrivals[charge.key] = max(known, asked_at + level)

    def clock(self) -> int:
        """Return the time by this limiter's clock, in microseconds."""
        return self._clock()

    def _level(self, charge: Charge, now: int) -> int:
        match charge:
            case EntryCharge(key=key):
                return self.holdings.count(key)
            case RateCharge(key=key, depth=depth):
                # Cut to the depth, for good: a lowered limit must lock nobody out for longer than its own burst.
                arrival = min(self._arrivals.get(key, now), now + depth)
                if key in self._arrivals:
                    self._arrivals[key] = arrival
                return max(0, arrival - now)

    def _charge(self, charge: Charge, level: int, now: int) -> int:
        """Raise the level by what the charge costs; a place is entered by the caller, with all the others."""
        match charge:
            case EntryCharge():
                return level + 1
            case RateCharge(key=key, interval=interval, cost=cost):
                raised = level + cost * interval
                self._arrivals[key] = now + raised
                return raised

    def _sweep(self, now: int) -> None:
        """Forget what no longer matters: an arrival in the past is the same as none."""
        while self._remembered:
            record, (until, _) = next(iter(self._remembered.items()))
            if until > now:
                break
            del self._remembered[record]
        if now >= self._next_sweep:
            self._next_sweep = now + _SWEEP_EVERY
            self._arrivals = {key: arrival for key, arrival in self._arrivals.items() if arrival > now}


def count(metrics: Metrics, tenant: Scope, verdict: Verdict) -> None:
    """Count every limit that the call exceeded, those in shadow mode too."""
    for name in verdict.violated:
        metrics.rate_limited.labels(metrics.tenants.of(tenant.name), name).inc()
