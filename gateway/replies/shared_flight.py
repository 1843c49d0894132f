"""Single flight over all processes, in Redis; while Redis is down or slow, each process lets one ask go on."""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable
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
_SLACK_MILLIS = 1000
"""More than any trip may take."""
_BRIEFLY = 0.02
_OUTCOME_MILLIS = OUTCOME_SECONDS * 1000

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Untold:
    """The end of a lead that Redis may not know of yet, and until when it is of use to anybody."""

    outcome: str | None = field(repr=False)
    until: float


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
                case Overdue():  # or cancelled: Redis may have given the lead all the same
                    self._local.end(here, None)
                    self._owe(here, None)
        return turn

    async def _lead_or_follow(self, lead: Lead, patience: Patience, since: float, deadline: float) -> Turn:
        notice = self._waiting[lead.key] = asyncio.Event()
        leader_until = 0.0
        slack = _SLACK_MILLIS
        try:
            while True:
                notice.clear()
                alive = time.monotonic() < leader_until
                oldest = round((time.monotonic() - since) * 1000) + slack
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
                    case [b"ended", age, text] if age <= (time.monotonic() - since) * 1000:
                        return Followed(text.decode())
                    case [b"ended", _, _]:
                        # It ended before this ask began. Without slack, Redis does not show it again.
                        slack = 0
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
        self._owe(lead, outcome)
        # Without Redis it is told by one of the next renewals; so it is when this call is cancelled.
        with suppress(RedisUnavailable):
            await self._tell(lead, outcome, patience)

    def _owe(self, lead: Lead, outcome: str | None) -> None:
        self._untold[lead] = _Untold(outcome, time.monotonic() + OUTCOME_SECONDS)

    async def _tell(self, lead: Lead, outcome: str | None, patience: Patience) -> None:
        """Tell Redis of the end of a lead."""
        words: list[Word] = [lead.token, self._lease_millis, _OUTCOME_MILLIS, CHANNEL]
        if outcome is not None:
            words.append(outcome)
        await self._link.run(self._finish, [lead.key, outcome_key(lead.key)], words, patience=patience)
        self._untold.pop(lead, None)

    async def _keep_renewing(self) -> None:
        while True:
            await asyncio.sleep(self._lease_seconds * _RENEWALS)
            await self.renew()

    async def renew(self) -> None:
        """Renew the leases of this process's leaders, and tell what is untold. A failure waits for the next round."""
        now, patience = time.monotonic(), Patience()
        self._untold = {lead: end for lead, end in self._untold.items() if end.until > now}
        leads = tuple(self._leads)
        await _attempt(
            *(
                self._link.run(self._renew, [one.key], [one.token, self._lease_millis], patience=patience)
                for one in leads
            ),
            *(self._tell(lead, end.outcome, patience) for lead, end in self._untold.items()),
        )
        # Whoever finished while the renewal was under way may have got the lease back by it.
        gone = [lead for lead in leads if lead not in self._leads and lead not in self._untold]
        for lead in gone:
            self._owe(lead, None)
        await _attempt(*(self._tell(lead, None, patience) for lead in gone))

    async def _listen(self) -> None:
        async with aclosing(self._link.notices(CHANNEL)) as notices:
            async for notice in notices:
                if notice is None:  # a new subscription: any notice may have been missed
                    for waiting in self._waiting.values():
                        waiting.set()
                elif (follower := self._waiting.get(notice.decode(errors="replace"))) is not None:
                    follower.set()


async def _attempt(*trips: Awaitable[Any]) -> None:
    """Make trips side by side; Redis may be away for any of them."""
    for outcome in await asyncio.gather(*trips, return_exceptions=True):
        if isinstance(outcome, RedisUnavailable):
            _log.debug("Leases are not renewed: Redis is away")
        elif isinstance(outcome, BaseException):
            raise outcome


async def _set(event: asyncio.Event, seconds: float) -> None:
    """Wait until the event is set, for so many seconds at most."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


def _script(name: str) -> Script:
    return Script(files("gateway.replies").joinpath(name).read_text(encoding="utf-8"))
