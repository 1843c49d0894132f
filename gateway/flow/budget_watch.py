"""How budgets and prices stand: shown by gauges every 10 s; it is told when 80 % and 100 % of a budget are used.

Operators are told in the log, tenants by webhook. With SQL out of reach the gauges keep their last values until it is
back.
"""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import structlog

from gateway import clock
from gateway.clock import Calendar
from gateway.database.engine import Database
from gateway.errors import LedgerUnavailable
from gateway.flow.budget_alerts import alert
from gateway.flow.standing import Standing, read_standings
from gateway.ledger.gauges import count_unknown, price_drift
from gateway.ledger.processes import eldest
from gateway.ledger.records import Period
from gateway.metrics import TENANTS_NAMED, Metrics
from gateway.money import Micros, format_yuan
from gateway.tenants.administration import oldest_tenants

INTERVAL_SECONDS = 10.0


@dataclass(slots=True)
class _Sum:
    limit: Micros = 0
    spent: Micros = 0
    held: Micros = 0


@dataclass(slots=True)
class BudgetWatch:
    """Watches the budgets of all tenants for one process; what was said is forgotten with the last process.

    Every process shows the gauges and notes what is to be said; the eldest alone says it, so that it is said once.
    """

    process_id: str
    database: Database
    calendar: Calendar
    metrics: Metrics
    _said: set[tuple[str, Period, str, int]] = field(default_factory=set)
    _alerted: set[tuple[str, Period, str, int]] = field(default_factory=set)
    _shown: set[tuple[str, Period]] = field(default_factory=set)

    async def run(self) -> None:
        """Look every INTERVAL_SECONDS until cancelled."""
        log = structlog.get_logger("budget")
        while True:
            try:
                await self.look()
            except LedgerUnavailable as error:
                log.warning("budgets not read", reason=error.detail)
            await asyncio.sleep(INTERVAL_SECONDS)

    async def look(self) -> None:
        """Read once, set the gauges, say what is new. Raises LedgerUnavailable."""
        now = clock.now()
        day = self.calendar.day(now)
        budgets, unknown, drift, speaker, oldest = await self.database.read(
            lambda sql: (
                read_standings(sql, day),
                count_unknown(sql),
                price_drift(sql),
                eldest(sql, now),
                oldest_tenants(sql, TENANTS_NAMED),
            )
        )
        self.metrics.tenants.name_oldest(oldest)
        self.metrics.generations_unknown.set(unknown)
        for model, ratio in drift.items():
            self.metrics.price_drift.labels(model).set(ratio)
        self._show(budgets)
        self._say(budgets, aloud=speaker in (None, self.process_id))
        await self._alert(budgets)

    def _show(self, budgets: Sequence[Standing]) -> None:
        """Set the gauges. Tenants beyond those that have a label of their own are added up under the shared one."""
        sums: defaultdict[tuple[str, Period], _Sum] = defaultdict(_Sum)
        for one in budgets:
            total = sums[self.metrics.tenants.of(one.tenant), one.period]
            total.limit += one.limit
            total.spent += one.spent
            total.held += one.held
        for (label, period), total in sums.items():
            self.metrics.set_budget(label, period, limit=total.limit, spent=total.spent, held=total.held)
        for label, period in self._shown - sums.keys():
            self.metrics.set_budget(label, period, limit=None, spent=0, held=0)
        self._shown = set(sums)

    async def _alert(self, budgets: Sequence[Standing]) -> None:
        """Leave what tenants are to be told in the outbox; whether another process did is asked there."""
        passed = {threshold: one for one in budgets if one.announced for threshold in one.passed()}
        if fresh := [(one, threshold[-1]) for threshold, one in passed.items() if threshold not in self._alerted]:
            await self.database.write(lambda sql: alert(sql, fresh, clock.now()))
        self._alerted = set(passed)

    def _say(self, budgets: Sequence[Standing], *, aloud: bool) -> None:
        log = structlog.get_logger("budget")
        passed = {threshold: one for one in budgets for threshold in one.passed()}
        for threshold in sorted(passed.keys() - self._said) if aloud else ():
            tenant, period, start, percent = threshold
            log.warning(
                "budget threshold reached",
                tenant=tenant,
                window=period,
                start=start,
                percent=percent,
                limit_yuan=format_yuan(passed[threshold].limit),
                spent_yuan=format_yuan(passed[threshold].spent),
                held_yuan=format_yuan(passed[threshold].held),
            )
        # One that fell below and is reached again was said; one whose window is over will not be reached again.
        current = {(one.period, one.start) for one in budgets}
        self._said = {said for said in self._said | passed.keys() if (said[1], said[2]) in current}
