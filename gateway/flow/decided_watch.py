"""Counts what unknown generations were settled at, by whomever: a command is no process that anybody scrapes.

A decision leaves an audit row; every process notes the new ones, and the eldest alone counts them, so that they are
counted once however many processes and replicas there are. What is decided while that one ends is not counted; the
ledger has it all the same. So it has where upstream's late answer corrects a decision: a counter takes nothing back.
"""

import asyncio
from dataclasses import dataclass, field

import structlog

from gateway import clock
from gateway.clock import Millis
from gateway.database.engine import Database
from gateway.errors import LedgerUnavailable
from gateway.ledger.decided import decided_since
from gateway.ledger.processes import eldest
from gateway.metrics import Metrics

INTERVAL_SECONDS = 10.0
OVERLAP_MS = 60_000
"""A decision that the last look has not seen may be dated so long before it: transactions take their time."""


@dataclass(slots=True)
class DecidedWatch:
    """Watches the decisions for one process."""

    process_id: str
    database: Database
    metrics: Metrics
    _began: Millis = field(default_factory=clock.now)
    _since: Millis = 0
    _noted: set[str] = field(default_factory=set)

    async def run(self) -> None:
        """Look every INTERVAL_SECONDS until cancelled."""
        log = structlog.get_logger("ledger")
        while True:
            try:
                await self.look()
            except LedgerUnavailable as error:
                log.warning("decisions not read", reason=error.detail)
            await asyncio.sleep(INTERVAL_SECONDS)

    async def look(self) -> None:
        """Read once; count what is new since this process began. Raises LedgerUnavailable."""
        now, since = clock.now(), max(self._began, self._since)
        decided, speaker = await self.database.read(lambda sql: (decided_since(sql, since), eldest(sql, now)))
        if speaker == self.process_id:
            for one in decided:
                if one.cost and one.id not in self._noted:
                    self.metrics.add_cost(one.tenant, one.model, one.provider, one.cost)
        self._since = now - OVERLAP_MS
        self._noted = {one.id for one in decided}
