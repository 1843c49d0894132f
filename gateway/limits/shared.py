"""The limiter of all processes, in Redis; while Redis is down or slow, each process enforces its share."""

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from gateway.limits.local import LocalLimiter, count
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
from gateway.redis_link import Patience, RedisLink, RedisUnavailable, Script, Word

LEASE_SECONDS = 30
_RECORD_MILLIS = 60_000
_SECOND = 1_000_000
_FLOOR_SLACK = 1_000_000
"""Two looks at one level differ by their travel times, at most the patience of a request. A floor must lie below that,
or each would raise the level a little and take from the tenant what nobody used."""

_STRAYS_SECONDS = 1.0
"""How often strays are freed: as long as one stands in Redis, it keeps somebody out."""

_log = logging.getLogger(__name__)


class SharedLimiter:
    """Asks Redis, lets the process's own limiter follow every answer, and falls back on it.

    The fallback is counted in `gateway_redis_fallbacks_total{part="limits"}`. Coming back, a process tells Redis how
    far its own count has gone, so the end of an outage is no new burst.
    """

    def __init__(
        self, link: RedisLink, metrics: Metrics, *, processes: int, lease_seconds: float = LEASE_SECONDS
    ) -> None:
        self._link = link
        self._metrics = metrics
        self._local = LocalLimiter(metrics, processes=processes)
        self._lease_seconds = lease_seconds
        self._lease = round(lease_seconds * _SECOND)
        self._take = Script.packaged("gateway.limits", "take.lua")
        self._renew = Script.packaged("gateway.limits", "renew.lua")
        self._strays: dict[str, dict[str, int]] = {}
        """Ids by key that Redis may hold a place for although they are not in progress, and until when by the clock."""
        self._renewal: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._renewal = asyncio.get_running_loop().create_task(self._keep_renewing(), name="limits renewal")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._renewal is not None:
            self._renewal.cancel()
            await asyncio.wait([self._renewal])
            if not self._renewal.cancelled():
                self._renewal.result()

    async def take(self, scopes: Scopes, id: str, patience: Patience) -> Verdict:  # noqa: A002 -- see Limiter
        """See `Limiter`."""
        return await self._decide(scopes[0], request_charges(scopes), record_key(scopes, "take", id), id, patience)

    async def enter(self, scopes: Scopes, id: str, images: int, patience: Patience) -> Verdict:  # noqa: A002 -- see Limiter
        """See `Limiter`."""
        charges = entry_charges(scopes, images)
        return await self._decide(scopes[0], charges, record_key(scopes, "enter", id), id, patience)

    async def leave(self, id: str, patience: Patience) -> None:  # noqa: A002 -- see Limiter
        """See `Limiter`."""
        keys = self._local.holdings.remove(id)
        freed = False
        try:
            # Without Redis, a place is freed soon after it is back, or by the end of its lease.
            with suppress(RedisUnavailable):
                await asyncio.gather(*(self._link.call("ZREM", key, id, patience=patience) for key in keys))
                freed = True
        finally:
            if not freed:
                self._strayed(keys, id)

    def _strayed(self, keys: Iterable[str], id: str) -> None:  # noqa: A002 -- the word of the house
        until = self._local.clock() + self._lease
        for key in keys:
            self._strays.setdefault(key, {})[id] = until

    async def _decide(
        self,
        tenant: Scope,
        charges: Sequence[Charge],
        record: str,
        id: str,  # noqa: A002 -- the word of the house
        patience: Patience,
    ) -> Verdict:
        if not charges:
            return Verdict(allowed=True)
        places = [charge.key for charge in charges if isinstance(charge, EntryCharge)]
        asked_at = self._local.clock()
        answer: list[int] | None = None
        try:
            answer = await self._link.run(
                self._take,
                [record, *(charge.key for charge in charges)],
                self._arguments(charges, id),
                patience=patience,
            )
        except RedisUnavailable:
            self._metrics.redis_fallbacks.labels("limits").inc()
            return self._local.decide(tenant, charges, record, id)
        finally:
            if answer is None:  # also when cancelled: Redis may have let the id in all the same
                self._strayed(places, id)
        return self._follow(tenant, charges, answer, id, asked_at)

    def _arguments(self, charges: Sequence[Charge], id: str) -> list[Word]:  # noqa: A002 -- the word of the house
        words: list[Word] = [id, _RECORD_MILLIS, self._lease]
        for charge in charges:
            match charge:
                case RateCharge(interval=interval, depth=depth, cost=cost, enforced=enforced):
                    floor = max(0, self._local.level(charge) - _FLOOR_SLACK)
                    words += ["R" if enforced else "r", interval, depth, cost, floor]
                case EntryCharge(limit=limit, enforced=enforced):
                    words += ["E" if enforced else "e", limit, 0, 0, 0]
        return words

    def _follow(
        self,
        tenant: Scope,
        charges: Sequence[Charge],
        answer: list[int],
        id: str,  # noqa: A002 -- the word of the house
        asked_at: int,
    ) -> Verdict:
        """Read what take.lua answered, and let the process's own limiter know."""
        met = [Met(charge, answer[2 + 2 * place], bool(answer[1 + 2 * place])) for place, charge in enumerate(charges)]
        for one in met:
            if isinstance(one.charge, RateCharge):
                self._local.follow(one.charge, one.level, asked_at)
        verdict = judge(met)
        if verdict.allowed:
            entered = [one.charge.key for one in met if isinstance(one.charge, EntryCharge) and not one.exceeded]
            self._local.holdings.add(id, entered)
        count(self._metrics, tenant, verdict)
        return verdict

    async def _keep_renewing(self) -> None:
        period = self._lease_seconds / 3
        renewed = self._local.clock()
        while True:
            await asyncio.sleep(min(period, _STRAYS_SECONDS))
            if self._strays or self._local.clock() >= renewed + period * _SECOND:
                renewed = self._local.clock()
                await self.renew()

    async def renew(self) -> None:
        """Renew the lease of every place of this process, and free the strays.

        What fails is made good by the next round, or by the end of a lease.
        """
        strays, self._strays = self._strays, {}
        held = self._local.holdings.all()
        patience = Patience()
        keys = tuple(held.keys() | strays.keys())
        rounds = [
            self._renew_key(key, held.get(key, frozenset()), frozenset(strays.get(key, ())), patience) for key in keys
        ]
        for key, outcome in zip(keys, await asyncio.gather(*rounds, return_exceptions=True), strict=True):
            if isinstance(outcome, RedisUnavailable):
                _log.debug("Leases are not renewed: Redis is away")
                self._still_stray(key, strays.get(key, {}))
            elif isinstance(outcome, BaseException):
                raise outcome
        # Whoever left while the renewal was under way may have been put back by it.
        for key, ids in held.items():
            gone = [one for one in ids if not self._local.holdings.holds(one, key)]
            if gone:
                with suppress(RedisUnavailable):
                    await self._link.call("ZREM", key, *gone, patience=patience)

    def _still_stray(self, key: str, strays: Mapping[str, int]) -> None:
        """Remember strays that could not be freed, those whose lease has not ended by itself."""
        now = self._local.clock()
        if alive := {id_: until for id_, until in strays.items() if until > now}:
            self._strays[key] = alive | self._strays.get(key, {})

    async def _renew_key(self, key: str, held: frozenset[str], strays: frozenset[str], patience: Patience) -> Any:
        words: list[Word] = [self._lease, len(held), *held, *(strays - held)]
        return await self._link.run(self._renew, [key], words, patience=patience)
