"""The deliverer of one process: claims what is due, tries it, and writes down what came of it.

An endpoint that does not answer holds up its own events alone: of each tenant only a few are tried at once, of one
whose last try failed only one.
"""

import asyncio
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field

import structlog

from gateway import clock
from gateway.database.engine import Database
from gateway.errors import LedgerUnavailable
from gateway.metrics import Metrics
from gateway.webhooks.claim import Claim, Urls, any_due, claim, conclude
from gateway.webhooks.outbox import AT_ONCE, count_waiting, sweep
from gateway.webhooks.post import CONNECTIONS_MAX, Poster
from gateway.webhooks.schedule import Delivered, Failed, Tried, Verdict, judge

POLL_SECONDS = 0.5
EACH = 4
"""Tries of one tenant at once."""

COUNT_SECONDS = 10.0
SWEEP_SECONDS = 600.0

LAST_SECONDS = 3.0
"""A process that ends waits so long for its last tries; what is cut off is tried again after its lease."""

_RESULTS = {"Delivered": "delivered", "Again": "retried", "Failed": "failed"}


@dataclass(slots=True)
class Deliverer:
    """Delivers for as long as its process runs."""

    database: Database
    poster: Poster
    urls: Urls
    metrics: Metrics
    _trying: dict["asyncio.Task[None]", str] = field(default_factory=dict)
    """The tries under way, and their tenants."""
    _ailing: set[str] = field(default_factory=set)
    """The tenants whose last try from here failed."""
    _room: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when a try has ended: there is room for another."""
    _count_at: float = 0.0
    _sweep_at: float = 0.0

    async def run(self) -> None:
        """Look for what is due, every POLL_SECONDS and after each try, until cancelled. An outage is waited out."""
        try:
            while True:
                try:
                    await self.look()
                except LedgerUnavailable as error:
                    structlog.get_logger("webhook").warning("outbox not read", reason=error.detail)
                with suppress(TimeoutError):
                    async with asyncio.timeout(POLL_SECONDS):
                        await self._room.wait()
                self._room.clear()
        finally:
            await self._end()

    async def look(self) -> None:
        """Claim what is due and begin to try it; count and sweep once in a while. Raises LedgerUnavailable."""
        if time.monotonic() >= self._count_at:
            self._count_at = time.monotonic() + COUNT_SECONDS
            self.metrics.webhook_waiting.set(await self.database.read(count_waiting))
        if time.monotonic() >= self._sweep_at:
            self._sweep_at = time.monotonic() + SWEEP_SECONDS
            while await self.database.write(lambda sql: sweep(sql, clock.now())) == AT_ONCE:
                pass
        trying = Counter(self._trying.values())
        trying.update(dict.fromkeys(self._ailing, EACH - 1))
        moment, most = clock.now(), CONNECTIONS_MAX - len(self._trying)
        if most <= 0 or not await self.database.read(lambda sql: any_due(sql, moment, trying, each=EACH)):
            return
        for claimed in await self.database.write(
            lambda sql: claim(sql, moment, self.urls, most=most, each=EACH, trying=trying)
        ):
            task = asyncio.create_task(self._try(claimed), name="webhook")
            self._trying[task] = claimed.tenant_id
            task.add_done_callback(self._tried)

    async def _try(self, claimed: Claim) -> None:
        tried, verdict = await self._outcome(claimed)
        log = structlog.get_logger("webhook").bind(event_id=claimed.id, tenant=claimed.tenant_id)
        try:
            await self.database.write(lambda sql: conclude(sql, claimed, tried, verdict, clock.now()))
        except LedgerUnavailable as error:
            log.warning("try not written down; it is made again", reason=error.detail)
        if isinstance(verdict, Delivered):
            self._ailing.discard(claimed.tenant_id)
        else:
            self._ailing.add(claimed.tenant_id)
        if isinstance(verdict, Failed):
            log.error("webhook given up", attempts=claimed.attempts, reason=tried.failure, gone=verdict.gone)
        self.metrics.webhook_deliveries.labels(_RESULTS[type(verdict).__name__]).inc()

    async def _outcome(self, claimed: Claim) -> tuple[Tried, Verdict]:
        if claimed.url is None:
            return Tried(None, "the tenant has no webhook URL, or is disabled"), Failed(gone=False)
        if claimed.gone:
            return Tried(None, "the endpoint said 410 Gone; set its URL again"), Failed(gone=False)
        tried = await self.poster.post(claimed, claimed.url)
        return tried, judge(tried, claimed.attempts)

    def _tried(self, task: "asyncio.Task[None]") -> None:
        del self._trying[task]
        self._room.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            structlog.get_logger("webhook").error("bug in a delivery", exc_info=error)

    async def _end(self) -> None:
        """Look once more, for what ended last while the process drained, and wait for the tries that have begun."""
        with suppress(LedgerUnavailable):
            await self.look()
        if self._trying:
            _, late = await asyncio.wait(self._trying, timeout=LAST_SECONDS)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late)
