"""Single flight over all processes, in Redis; while Redis is down or slow, each process lets one ask go on."""

import asyncio
import random
import time
from collections.abc import Iterable
from contextlib import aclosing, suppress
from types import TracebackType
from typing import Self

from gateway.metrics import Metrics
from gateway.redis_link import Patience, RedisLink, RedisUnavailable
from gateway.replies.entry import Named
from gateway.replies.flight import Followed, Lead, Overdue, Turn, lead_of
from gateway.replies.leases import CHANNEL, TRIP_SECONDS, Ended, Granted, Held, Leases
from gateway.replies.local_flight import LocalFlights

LEASE_SECONDS = 10.0
POLL_SECONDS = 0.5
"""Notices make followers quick. They may be lost, so each also looks this often."""
_BRIEFLY = 0.02
_ROUNDING = 0.002
"""Redis reckons in whole milliseconds: an age in seconds may come out so much too high."""


class SharedFlights:
    """See `Flights`. In each process one ask at a time speaks to Redis for all that are equal.

    Flights begun without Redis count as `gateway_redis_fallbacks_total{part="flight"}`.
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
        self._poll_seconds = poll_seconds
        self._local = LocalFlights()
        self._leases = Leases(link, lease_seconds)
        self._waiting: dict[str, asyncio.Event] = {}
        """The followers of this process, one a flight, to be woken by a notice."""
        self._background: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._background = [
            loop.create_task(self._listen(), name="flight notices"),
            loop.create_task(self._leases.keep_renewing(), name="flight renewal"),
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
        self, tenant_id: str, generation: Named, patience: Patience, *, since: float, deadline: float
    ) -> Turn:
        """See `Flights`."""
        here = await self._local.lead_or_follow(tenant_id, generation, patience, since=since, deadline=deadline)
        if not isinstance(here, Lead):
            return here
        turn: Turn = Overdue()
        try:
            turn = await self._lead_or_follow(here, patience, since, deadline)
        finally:
            match turn:
                case Lead():
                    self._leases.hold(here)
                case Followed(outcome=outcome):  # Redis remembers it, and forgets it if it is erased
                    self._local.end(here, outcome, remember=False)
                case Overdue():  # or cancelled
                    self._local.end(here, None)
                    self._leases.disown(here)
        return turn

    async def _lead_or_follow(self, lead: Lead, patience: Patience, since: float, deadline: float) -> Turn:
        """Speak for all equal asks of this process, whose lead this ask has."""
        notice = self._waiting[lead.key] = asyncio.Event()
        leader_until = 0.0
        slack = TRIP_SECONDS
        try:
            while True:
                notice.clear()
                now = time.monotonic()
                alive = now < leader_until
                try:
                    answer = await self._leases.ask(lead, patience, oldest=now - since + slack, alive=alive)
                except RedisUnavailable:
                    if not alive:
                        self._fallbacks.inc()
                        return lead
                    answer = Held(0.0)  # it may outlive the outage: wait for as long as its lease was seen to last
                now = time.monotonic()
                match answer:
                    case Granted():
                        return lead
                    case Ended(age=age, outcome=outcome) if age - _ROUNDING <= now - since:
                        return Followed(outcome)
                    case Ended():
                        # It ended before this ask began. Without slack, Redis does not show it again.
                        slack = 0.0
                        continue
                    case Held(left=left):
                        leader_until = max(leader_until, now + left)
                if now >= deadline:
                    return Overdue()
                poll = self._poll_seconds * random.uniform(0.5, 1.0)  # noqa: S311 -- spreads the processes
                with suppress(TimeoutError):
                    async with asyncio.timeout(min(poll, deadline - now, max(_BRIEFLY, leader_until - now))):
                        await notice.wait()
                patience = Patience()
        finally:
            del self._waiting[lead.key]

    async def finish(self, lead: Lead, outcome: str | None, patience: Patience) -> None:
        """See `Flights`."""
        if self._leases.holds(lead):
            self._local.end(lead, outcome)
            await self._leases.end(lead, outcome, patience)

    async def forget(self, tenant_id: str, generations: Iterable[Named], patience: Patience) -> bool:
        """See `Flights`. The leader's own process may yet tell its own followers, and remember it for a minute."""
        forgotten = list(generations)
        await self._local.forget(tenant_id, forgotten, patience)
        leads = (lead_of(tenant_id, generation) for generation in forgotten)
        try:
            await asyncio.gather(*(self._leases.forget(lead, patience) for lead in leads))
        except RedisUnavailable:
            self._fallbacks.inc()
            return False
        return True

    async def _listen(self) -> None:
        async with aclosing(self._link.notices(CHANNEL)) as notices:
            async for notice in notices:
                if notice is None:  # a new subscription: any notice may have been missed
                    for waiting in self._waiting.values():
                        waiting.set()
                elif (follower := self._waiting.get(notice.decode(errors="replace"))) is not None:
                    follower.set()
