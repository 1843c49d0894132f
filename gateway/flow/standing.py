"""How budgets stand in the windows of a day, and which thresholds of them are reached."""

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import Connection

from gateway.flow.budget import budget_of
from gateway.ledger.gauges import standing
from gateway.ledger.records import Period, window_starts
from gateway.money import Micros
from gateway.tenants.administration import list_tenants

THRESHOLDS = (80, 100)
"""Percents of a budget, spent or held, at which operators are told, in the log, and tenants, by webhook."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How one limited window of a tenant stands. `start` is the window's, so that the next one is another."""

    tenant_id: str
    tenant: str
    period: Period
    start: str
    limit: Micros
    spent: Micros
    held: Micros
    announced: bool
    """Whether the tenant is told of thresholds."""

    def passed(self) -> Iterator[tuple[str, Period, str, int]]:
        """Name the thresholds that are reached: tenant, period, start and percent."""
        for percent in THRESHOLDS:
            if (self.spent + self.held) * 100 >= self.limit * percent:
                yield self.tenant, self.period, self.start, percent


def read_standings(connection: Connection, day: str) -> list[Standing]:
    """Return how every budget of every tenant stands in the windows of a local day."""
    starts = window_starts(day)
    limited = [
        (tenant, period, limit)
        for tenant in list_tenants(connection)
        for period, limit in budget_of(tenant.policy).limits().items()
    ]
    balances = standing(connection, [(tenant.id, period, starts[period]) for tenant, period, _ in limited])
    found = []
    for tenant, period, limit in limited:
        balance = balances[tenant.id, period, starts[period]]
        found.append(
            Standing(
                tenant_id=tenant.id,
                tenant=tenant.name,
                period=period,
                start=starts[period],
                limit=limit,
                spent=balance.spent,
                held=balance.held,
                announced=tenant.policy.webhook_url is not None,
            )
        )
    return found
