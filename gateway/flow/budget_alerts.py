"""Budget thresholds told by webhook: once for each window and threshold, whichever process notices."""

from collections.abc import Iterable

from sqlalchemy import Connection, delete
from sqlalchemy.dialects import postgresql, sqlite

from gateway.clock import Millis
from gateway.database.outbox import Event, announce
from gateway.database.tables import budget_alerts
from gateway.flow.standing import Standing
from gateway.money import format_yuan


def alert(connection: Connection, passed: Iterable[tuple[Standing, int]], moment: Millis) -> None:
    """Announce those of these thresholds that were not announced yet, and forget windows that are over."""
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    # Tenants in the order in which every transaction locks them: an event refers to its tenant.
    for one, percent in sorted(passed, key=lambda each: (each[0].tenant_id, each[0].period, each[1])):
        row = {"scope": one.tenant_id, "period": one.period, "start": one.start, "percent": percent}
        if connection.execute(dialect.insert(budget_alerts).values(row).on_conflict_do_nothing()).rowcount == 1:
            announce(connection, [_event(one, percent, moment)])
            connection.execute(
                delete(budget_alerts).where(
                    budget_alerts.c.scope == one.tenant_id,
                    budget_alerts.c.period == one.period,
                    budget_alerts.c.start < one.start,
                )
            )


def _event(one: Standing, percent: int, moment: Millis) -> Event:
    data = {
        "window": one.period,
        "start": one.start,
        "percent": percent,
        "limit_yuan": format_yuan(one.limit),
        "spent_yuan": format_yuan(one.spent),
        "held_yuan": format_yuan(one.held),
    }
    return Event(one.tenant_id, "budget.threshold", moment, data)
