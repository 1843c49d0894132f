"""Erasure, in this order: cached replies, then the bytes of the images, then the mark on the row.

Whoever wants something erased asks the ledger for it, which takes every word from the row at once. What is asked for is
carried out here: at once by who asked, if the stores are there, else by the sweeper, which also asks for what is past
its tenant's retention. Each step may be repeated, so that several processes may do it at once and any may die at it.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import structlog

from gateway import clock
from gateway.clock import Millis
from gateway.database.engine import Database
from gateway.errors import LedgerUnavailable
from gateway.images.store import Store, StoreUnavailable
from gateway.ledger import erasure
from gateway.ledger.erasure import Doomed
from gateway.ledger.processes import eldest
from gateway.metrics import Metrics
from gateway.redis_link import Patience
from gateway.replies import Flights, Named, Replies
from gateway.tenants.administration import list_tenants

LOOK_SECONDS = 2.0
SWEEP_SECONDS = 60.0
AWAY_SECONDS = 30.0
"""After the image store failed, for how long it is not asked again."""
DELETES_AT_ONCE = 8
_UNDROPPED = "Redis is away, so cached replies cannot be dropped"

_DAY: Millis = 24 * 3600 * 1000


@dataclass(frozen=True, slots=True)
class Caches:
    """Where replies are remembered."""

    replies: Replies
    flights: Flights
    one_each: bool
    """Whether other processes have caches of their own: several on one database, without Redis."""

    async def drop(self, doomed: Sequence[Doomed]) -> bool:
        """Forget the replies of generations; return whether all are gone for certain."""
        named: defaultdict[str, list[Named]] = defaultdict(list)
        for one in doomed:
            named[one.tenant_id].append((one.fingerprint, one.id))
        for tenant_id, theirs in named.items():
            if not await self.replies.drop(tenant_id, theirs, Patience()):
                return False
            if not await self.flights.forget(tenant_id, theirs, Patience()):
                return False
        return True


@dataclass(slots=True)
class Eraser:
    """Carries out what is to be erased."""

    database: Database
    caches: Caches
    store: Store | None
    _log: Any = field(default_factory=lambda: structlog.get_logger("erase"))

    async def erase(self, tenant_id: str, generation_id: str) -> bool:
        """Erase one of a tenant's generations; return whether all of it is gone, or will be later.

        Of a repeat it is the generation that it was answered from, whose images it shows. Raises LedgerUnavailable:
        then nothing was asked for.
        """
        now = clock.now()
        generation_id = await self.database.read(lambda sql: erasure.original(sql, generation_id))
        await self.database.write(lambda sql: erasure.ask(sql, tenant_id, [generation_id], now))
        doomed = await self.database.read(lambda sql: erasure.waiting_of(sql, generation_id))
        return await self.carry_out(doomed) == len(doomed)

    async def carry_out(self, doomed: Sequence[Doomed]) -> int:
        """Erase what was asked for; return how many are done. The rest waits: a store is away.

        Raises LedgerUnavailable.
        """
        if not doomed:
            return 0
        if not await self.caches.drop(doomed):
            self._log.warning("erasure waits", reason=_UNDROPPED)
            return 0
        return await self.finish(doomed)

    async def finish(self, doomed: Sequence[Doomed]) -> int:
        """Erase what is left of generations whose cached replies are dropped; return how many are done.

        Raises LedgerUnavailable.
        """
        gone = await self._without_bytes(self._dropped_by_all(doomed))
        if not gone:
            return 0
        marked = await self.database.write(lambda sql: erasure.done(sql, gone, clock.now()))
        self._log.info("erased", generations=marked, images=sum(len(one.images) for one in gone))
        return marked

    def _dropped_by_all(self, doomed: Sequence[Doomed]) -> Sequence[Doomed]:
        """Leave out what the cache of another process may still hold: each drops its own when it looks."""
        if not self.caches.one_each:
            return doomed
        looked = clock.now() - 3 * int(LOOK_SECONDS * 1000)
        return [one for one in doomed if one.asked_at <= looked]

    async def _without_bytes(self, doomed: Sequence[Doomed]) -> list[Doomed]:
        """Delete the images of these generations; return those that have none any more."""
        turns, failures = asyncio.Semaphore(DELETES_AT_ONCE), list[str]()

        async def one(generation: Doomed) -> bool:
            for name in generation.images:
                async with turns:
                    if failures:  # nobody waits for a store that is away again and again
                        return False
                    if self.store is None:
                        failures.append("there is no image store, and the images are in one")
                        return False
                    try:
                        await self.store.delete(name)
                    except StoreUnavailable as error:
                        failures.append(str(error))
                        return False
            return True

        deleted = await asyncio.gather(*(one(generation) for generation in doomed))
        if failures:
            self._log.warning("erasure waits", reason=failures[0])
        return [generation for generation, gone in zip(doomed, deleted, strict=True) if gone]


@dataclass(slots=True)
class Sweeper:
    """Erases for one process what is past its retention, and what could not be erased when it was asked for.

    The eldest process does it for all; where each has a cache of its own, the others drop their own replies.
    """

    process_id: str
    eraser: Eraser
    metrics: Metrics
    _swept: float = -SWEEP_SECONDS
    _away_until: float = 0.0
    _redis_away: bool = False
    _log: Any = field(default_factory=lambda: structlog.get_logger("erase"))

    async def run(self) -> None:
        """Look every LOOK_SECONDS until cancelled. An outage of SQL is waited out."""
        while True:
            try:
                await self.look()
            except LedgerUnavailable as error:
                self._log.warning("retention waits", reason=error.detail)
            await asyncio.sleep(LOOK_SECONDS)

    async def look(self) -> None:
        """Look once. Raises LedgerUnavailable."""
        now, database, caches = clock.now(), self.eraser.database, self.eraser.caches
        left, first = await database.read(lambda sql: (erasure.count_waiting(sql), eldest(sql, now)))
        if first in (None, self.process_id):
            if time.monotonic() >= self._swept + SWEEP_SECONDS:
                left += await ask_for_overdue(database, now)
                self._swept = time.monotonic()
            if left:
                left -= await self._carry_out()
        elif left and caches.one_each:
            await caches.drop(await database.read(erasure.waiting))
        self.metrics.erasures_waiting.set(left)

    async def _carry_out(self) -> int:
        """Erase what waits; return how many are done.

        Replies are dropped at every look: a Redis that comes back with them in it must not give them to anybody.
        """
        done = 0
        while doomed := await self.eraser.database.read(erasure.waiting):
            if not await self._dropped(doomed) or time.monotonic() < self._away_until:
                break
            gone = await self.eraser.finish(doomed)
            done += gone
            if gone < len(doomed):
                self._away_until = time.monotonic() + AWAY_SECONDS
                break
        return done

    async def _dropped(self, doomed: Sequence[Doomed]) -> bool:
        """Drop the cached replies; return whether they are gone. Says once that Redis is away."""
        dropped = await self.eraser.caches.drop(doomed)
        if not dropped and not self._redis_away:
            self._log.warning("erasures wait", reason=_UNDROPPED)
        self._redis_away = not dropped
        return dropped


async def ask_for_overdue(database: Database, now: Millis) -> int:
    """Ask for the erasure of all that is past its tenant's retention; return how many. Raises LedgerUnavailable."""
    asked = 0
    for tenant in await database.read(list_tenants):
        days = tenant.policy.retention_days
        if days is None:
            continue
        swept = after = await database.read(partial(erasure.swept_to, tenant_id=tenant.id))
        async for page in _pages(database, tenant.id, after, now - days * _DAY):
            if swept == after and not page.running:
                swept = page.last
            asked += await database.write(
                partial(erasure.sweep, tenant_id=tenant.id, ids=page.ids, to=swept, moment=now)
            )
            after = page.last
    return asked


async def ask_for_all(database: Database, tenant_id: str, *, end_user: str | None) -> tuple[int, int]:
    """Ask for the erasure of all that a tenant, or one of its end users, has; return how many, and how many still run.

    Raises LedgerUnavailable; the same call does the rest.
    """
    asked, running, now = 0, 0, clock.now()
    async for page in _pages(database, tenant_id, None, now + 1, end_user=end_user):
        asked += await database.write(partial(erasure.ask, tenant_id=tenant_id, ids=page.ids, moment=now))
        running += page.running
    return asked, running


async def _pages(
    database: Database, tenant_id: str, after: str | None, before: Millis, *, end_user: str | None = None
) -> AsyncIterator[erasure.Page]:
    """Read what may be asked for, a page at a time: the reading holds up nobody, and each page is a commit."""
    whole = True
    while whole:
        page = await database.read(
            partial(erasure.page, tenant_id=tenant_id, after=after, before=before, end_user=end_user)
        )
        after, whole = page.last, page.whole
        yield page
