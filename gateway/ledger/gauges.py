"""What the gauges show: how budgets stand, and how many outcomes are unknown, as the ledger has it."""

from collections.abc import Iterable

from sqlalchemy import Connection, func, select

from gateway.database.tables import generations
from gateway.ledger.reserve import Window, read_balances
from gateway.ledger.transitions import Balance

AT_ONCE = 500
"""Windows in one statement: SQLite takes 32,766 values, three a window."""


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
