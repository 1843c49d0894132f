"""What the gauges show: how budgets stand, how many outcomes are unknown, and whether prices drift."""

from collections.abc import Iterable

from sqlalchemy import Connection, func, select

from gateway.database.tables import generations
from gateway.ledger.reserve import Window, read_balances
from gateway.ledger.transitions import Balance

AT_ONCE = 500
"""Windows in one statement: SQLite takes 32,766 values, three a window."""

DRIFT_OF = 1_000
"""How many generations tell the prices of now."""


def standing(connection: Connection, windows: Iterable[Window]) -> dict[Window, Balance]:
    """Return what each of these windows, however many, has spent and holds."""
    wanted = sorted(windows)
    found: dict[Window, Balance] = {}
    for start in range(0, len(wanted), AT_ONCE):
        found |= read_balances(connection, wanted[start : start + AT_ONCE])
    return found


def count_unknown(connection: Connection) -> int:
    """Return how many generations have an unknown outcome."""
    query = select(func.count()).select_from(generations).where(generations.c.state == "unknown")
    return int(connection.scalar(query) or 0)


def price_drift(connection: Connection) -> dict[str, float]:
    """Return by how much upstream's bills exceed the quotes, by model: bill / quote of the newest DRIFT_OF generations.

    Those that upstream named no cost of say nothing of its prices, nor do those that were quoted nothing.
    """
    row = generations.c
    newest = select(row.id).order_by(row.id.desc()).limit(DRIFT_OF)
    query = (
        select(row.model, func.sum(row.cost), func.sum(row.quote))
        .where(row.id.in_(newest), row.state == "settled", row.bill == "exact", row.quote > 0)
        .group_by(row.model)
    )
    return {model: int(cost) / int(quote) for model, cost, quote in connection.execute(query)}
