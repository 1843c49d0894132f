"""Single flight over all processes, in Redis; while Redis is down or slow, each process lets one ask go on."""

import asyncio
import random
import time
from collections.abc import Awaitable, Iterable
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from importlib.resources import files
from types import TracebackType
from typing import Any, Self

from gateway.metrics import Metrics
from gateway.redis_link import Patience, RedisLink, RedisUnavailable, Script, Word
from gateway.replies.flight import OUTCOME_SECONDS, Followed, Lead, Overdue, Turn, outcome_key
from gateway.replies.local_flight import LocalFlights

LEASE_SECONDS = 10.0
POLL_SECONDS = 0.5
"""Notices make followers quick. They may be lost, so each also looks this often."""
CHANNEL = "igw:flight:1"
_RENEWALS = 0.3
"""Renewals come after this part of a lease: two may fail before it runs out."""
_TRIP_SECONDS = 1.0
"""More than any trip may take."""
_ROUNDING_MILLIS = 2
"""Redis reckons in whole milliseconds: an age may come out a little too high."""
_BRIEFLY = 0.02
_OUTCOME_MILLIS = OUTCOME_SECONDS * 1000


@dataclass(frozen=True, slots=True)
class _Untold:
    """The end of a lead, and when it came: Redis may not know of it yet."""

    outcome: str | None = field(repr=False)
    at: float


class SharedFlights:
    """See `Flights`. In each process one ask at a time speaks to Redis for all that are equal.

    Flights begun without Redis count as `gateway_redis_fallbacks_total{part="flight"}`. When Redis comes back they get
    their lease there, and ends that it has missed are told within a minute.
    """

    def __init__(
        self,
        link: RedisLink,
        metrics: Metrics,
        *,
        lease_seconds: float = LEASE_SECONDS,
        poll_seconds: float = POLL_SECONDS,
    ) -> None:
        self._link = link
        self._fallbacks = metrics.redis_fallbacks.labels("flight")
        self._lease_seconds = lease_seconds
        self._lease_millis = round(lease_seconds * 1000)
        self._poll_seconds = poll_seconds
        self._lead, self._renew, self._finish = (_script(name) for name in ("lead.lua", "renew.lua", "finish.lua"))
        self._local = LocalFlights()
        self._leads: set[Lead] = set()
        self._untold: dict[Lead, _Untold] = {}
        self._owing = asyncio.Event()
        self._waiting: dict[str, asyncio.Event] = {}
        """The followers of this process, one a flight, to be woken by a notice."""
        self._background: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._background = [
            loop.create_task(self._listen(), name="flight notices"),
            loop.create_task(self._keep_renewing(), name="flight renewal"),
        ]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._background:
            task.cancel()
        await asyncio.wait(self._background)
        for task in self._background:
            if not task.cancelled():
                task.result()

    async def lead_or_follow(
        self, tenant_id: str, fingerprint: str, patience: Patience, *, since: float, deadline: float
    ) -> Turn:
        """See `Flights`."""
        here = await self._local.lead_or_follow(tenant_id, fingerprint, patience, since=since, deadline=deadline)
        if not isinstance(here, Lead):
            return here
        turn: Turn = Overdue()
        try:
            turn = await self._lead_or_follow(here, patience, since, deadline)
        finally:
            match turn:
                case Lead():
                    self._leads.add(here)
                case Followed(outcome=outcome):
                    self._local.end(here, outcome)
                case Overdue():  # or cancelled: Redis may have given the lead all the same, or be about to
                    self._local.end(here, None)
                    self._owe(here, None)
                    self._owing.set()
        return turn

    async def _lead_or_follow(self, lead: Lead, patience: Patience, since: float, deadline: float) -> Turn:
        notice = self._waiting[lead.key] = asyncio.Event()
        leader_until = 0.0
        slack = _TRIP_SECONDS
        try:
            while True:
                notice.clear()
                alive = time.monotonic() < leader_until
                oldest = round((time.monotonic() - since + slack) * 1000)
                try:
                    answer = await self._ask(lead, oldest, patience, alive=alive)
                except RedisUnavailable:
                    if not alive:
                        self._fallbacks.inc()
                        return lead
                    answer = None  # its leader may outlive the outage: wait as long as the lease was seen to last
                match answer:
                    case [b"lead"]:
                        return lead
                    case [b"ended", age, text] if age - _ROUNDING_MILLIS <= (time.monotonic() - since) * 1000:
                        return Followed(text.decode())
                    case [b"ended", _, _]:
                        # It ended before this ask began. Without slack, Redis does not show it again.
                        slack = 0.0
                        continue
                    case [b"follow", left]:
                        leader_until = max(leader_until, time.monotonic() + left / 1000)
                now = time.monotonic()
                if now >= deadline:
                    return Overdue()
                poll = self._poll_seconds * random.uniform(0.5, 1.0)  # noqa: S311 -- spreads the processes
                await _set(notice, min(poll, deadline - now, max(_BRIEFLY, leader_until - now)))
                patience = Patience()
        finally:
            del self._waiting[lead.key]

    async def _ask(self, lead: Lead, oldest: int, patience: Patience, *, alive: bool) -> Any:
        words: list[Word] = [lead.token, self._lease_millis, _OUTCOME_MILLIS, oldest, int(alive)]
        return await self._link.run(self._lead, [lead.key, outcome_key(lead.key)], words, patience=patience)

    async def finish(self, lead: Lead, outcome: str | None, patience: Patience) -> None:
        """See `Flights`."""
        if lead not in self._leads:
            return
        self._leads.discard(lead)
        self._local.end(lead, outcome)
        end = self._owe(lead, outcome)
        # Without Redis it is told by one of the next renewals; so it is when this call is cancelled.
        with suppress(RedisUnavailable):
            await self._tell(lead, outcome, patience)
            if self._untold.get(lead) is end:
                del self._untold[lead]

    def _owe(self, lead: Lead, outcome: str | None) -> _Untold:
        end = self._untold[lead] = _Untold(outcome, time.monotonic())
        return end

    async def _tell(self, lead: Lead, outcome: str | None, patience: Patience) -> None:
        """Tell Redis of the end of a lead."""
        words: list[Word] = [lead.token, self._lease_millis, _OUTCOME_MILLIS, CHANNEL]
        if outcome is not None:
            words.append(outcome)
        await self._link.run(self._finish, [lead.key, outcome_key(lead.key)], words, patience=patience)

    async def _keep_renewing(self) -> None:
        due = time.monotonic() + self._lease_seconds * _RENEWALS
        while True:
            await _set(self._owing, due - time.monotonic())
            self._owing.clear()
            if time.monotonic() < due:
                await self._tell_untold(Patience())
            else:
                due = time.monotonic() + self._lease_seconds * _RENEWALS
                await self.renew()

    async def renew(self) -> None:
        """Renew the leases of this process's leaders, and tell what is untold. A failure waits for the next round."""
        leads, patience = tuple(self._leads), Patience()
        renewals = (
            self._link.run(self._renew, [lead.key], [lead.token, self._lease_millis], patience=patience)
            for lead in leads
        )
        told_at = time.monotonic()
        _, told = await asyncio.gather(_attempt(renewals), self._tell_untold(patience))
        for lead, end in told:
            # What gave a lead away when its asker left may still have been on its way to Redis: then tell it again.
            if self._untold.get(lead) is end and told_at - end.at > _TRIP_SECONDS:
                del self._untold[lead]
        # Whoever finished while the renewal was under way may have got the lease back by it.
        for lead in leads:
            if lead not in self._leads:
                end_known = self._untold.get(lead)
                self._owe(lead, None if end_known is None else end_known.outcome)
                self._owing.set()

    async def _tell_untold(self, patience: Patience) -> list[tuple[Lead, _Untold]]:
        """Tell Redis of every end that it may not know of; return those that it now knows."""
        useless = time.monotonic() - OUTCOME_SECONDS
        self._untold = {lead: end for lead, end in self._untold.items() if end.at > useless}
        untold = tuple(self._untold.items())
        answered = await _attempt(self._tell(lead, end.outcome, patience) for lead, end in untold)
        return [one for one, known in zip(untold, answered, strict=True) if known]

    async def _listen(self) -> None:
        async with aclosing(self._link.notices(CHANNEL)) as notices:
            async for notice in notices:
                if notice is None:  # a new subscription: any notice may have been missed
                    for waiting in self._waiting.values():
                        waiting.set()
                elif (follower := self._waiting.get(notice.decode(errors="replace"))) is not None:
                    follower.set()


async def _attempt(trips: Iterable[Awaitable[Any]]) -> list[bool]:
    """Make trips side by side; return for each whether Redis answered."""
    outcomes = await asyncio.gather(*trips, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, BaseException) and not isinstance(outcome, RedisUnavailable):
            raise outcome
    return [not isinstance(outcome, RedisUnavailable) for outcome in outcomes]


async def _set(event: asyncio.Event, seconds: float) -> None:
    """Wait until the event is set, for so many seconds at most."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


def _script(name: str) -> Script:
    return Script(files("gateway.replies").joinpath(name).read_text(encoding="utf-8"))
