"""Single flight in one process: alone without Redis; beside Redis it lets one ask of each process go and ask there."""

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from gateway.redis_link import Patience
from gateway.replies.entry import Named
from gateway.replies.flight import OUTCOME_SECONDS, Followed, Lead, Overdue, Turn, lead_of


@dataclass(slots=True, eq=False)
class _Flight:
    lead: Lead
    waiting: dict[asyncio.Future[Turn], Lead] = field(default_factory=dict)
    """In order of arrival: who waits, and the lead that it would have."""
    forgotten: bool = False
    """Whether nobody may be told what the present leader's generation comes to."""


@dataclass(frozen=True, slots=True)
class _Ended:
    at: float
    lead: Lead
    outcome: str = field(repr=False)


class LocalFlights:
    """See `Flights`. No lease is needed: leader and followers end together."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._flying: dict[str, _Flight] = {}
        self._ended: dict[str, _Ended] = {}
        """The last outcomes, oldest first."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to give back: the leads end with the process."""

    async def lead_or_follow(
        self,
        tenant_id: str,
        generation: Named,
        patience: Patience,  # noqa: ARG002 -- see Flights
        *,
        since: float,
        deadline: float,
    ) -> Turn:
        """See `Flights`."""
        lead = lead_of(tenant_id, generation)
        self._expire()
        ended = self._ended.get(lead.key)
        if ended is not None and ended.at >= since:
            return Followed(ended.outcome)
        flight = self._flying.get(lead.key)
        if flight is None:
            self._flying[lead.key] = _Flight(lead)
            return lead
        return await self._follow(flight, lead, deadline)

    async def _follow(self, flight: _Flight, lead: Lead, deadline: float) -> Turn:
        turn: asyncio.Future[Turn] = asyncio.get_running_loop().create_future()
        flight.waiting[turn] = lead
        taken = False
        try:
            await asyncio.wait([turn], timeout=max(0.0, deadline - self._clock()))
            taken = True
            return turn.result() if turn.done() else Overdue()
        finally:
            flight.waiting.pop(turn, None)
            if not taken and turn.done() and isinstance(given := turn.result(), Lead):
                self.end(given, None)  # cancelled between being given the lead and taking it

    async def finish(self, lead: Lead, outcome: str | None, patience: Patience) -> None:  # noqa: ARG002 -- see Flights
        """See `Flights`."""
        self.end(lead, outcome)

    async def forget(self, tenant_id: str, generations: Iterable[Named], patience: Patience) -> bool:  # noqa: ARG002 -- see Flights
        """See `Flights`."""
        for generation in generations:
            lead = lead_of(tenant_id, generation)
            ended, flight = self._ended.get(lead.key), self._flying.get(lead.key)
            if ended is not None and ended.lead == lead:
                del self._ended[lead.key]
            if flight is not None and flight.lead == lead:
                flight.forgotten = True
        return True

    def end(self, lead: Lead, outcome: str | None, *, remember: bool = True) -> None:
        """End a lead, as `finish` does, awaiting nothing; perhaps only for those who wait already."""
        flight = self._flying.get(lead.key)
        if flight is None or flight.lead != lead:
            return
        if outcome is not None and not flight.forgotten:
            self._ended.pop(lead.key, None)
            if remember:
                self._ended[lead.key] = _Ended(self._clock(), lead, outcome)
            for turn in flight.waiting:
                turn.set_result(Followed(outcome))
            flight.waiting.clear()
        if flight.waiting:
            turn = next(iter(flight.waiting))
            flight.lead, flight.forgotten = flight.waiting.pop(turn), False
            turn.set_result(flight.lead)
        else:
            del self._flying[lead.key]

    def _expire(self) -> None:
        expired = self._clock() - OUTCOME_SECONDS
        while self._ended:
            oldest = next(iter(self._ended.values()))
            if oldest.at > expired:
                break
            del self._ended[oldest.lead.key]
