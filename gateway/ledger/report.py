"""Reports: what settled generations cost, by the local day of their reservation."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

from sqlalchemy import ColumnElement, Connection, case, func, select

from gateway.database.tables import generations, tenants
from gateway.money import Micros, format_yuan

Grouping: TypeAlias = Literal["day", "model", "tenant", "provider", "key"]

GROUPINGS: tuple[Grouping, ...] = get_args(Grouping)

_COLUMNS: dict[Grouping, ColumnElement[str]] = {
    "day": generations.c.day,
    "model": generations.c.model,
    "tenant": tenants.c.name,
    "provider": generations.c.provider,
    "key": generations.c.key_id,
}


@dataclass(frozen=True, slots=True)
class Spent:
    """One line of a report."""

    by: Grouping
    name: str
    cost: Micros
    generations: int
    images_generated: int
    images_failed: int
    unknown: int

    def shown(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            self.by: self.name,
            "cost_yuan": format_yuan(self.cost),
            "generations": self.generations,
            "images_generated": self.images_generated,
            "images_failed": self.images_failed,
            "unknown": self.unknown,
        }


def month_so_far(today: str) -> tuple[str, str]:
    """Return the first and the last day of a report that names none: the local month up to today."""
    return today[:7] + "-01", today


def spend(connection: Connection, by: Grouping, first: str, last: str, tenant: str | None) -> Sequence[Spent]:
    """Add up the days from `first` to `last`, both included; settled generations alone have a cost."""
    column = _COLUMNS[by]

    def when(condition: ColumnElement[bool], value: Any) -> ColumnElement[int]:
        return func.coalesce(func.sum(case((condition, value), else_=0)), 0)

    settled, unknown = generations.c.state == "settled", generations.c.state == "unknown"
    paid = settled & (generations.c.bill != "free")  # a repeat's row is settled and free

    query = (
        select(
            column.label("name"),
            when(settled, generations.c.cost).label("cost"),
            when(paid, 1).label("generations"),
            when(settled, generations.c.images_generated).label("images_generated"),
            when(settled, generations.c.images_failed).label("images_failed"),
            when(unknown, 1).label("unknown"),
        )
        .join(tenants, tenants.c.id == generations.c.tenant_id)
        .where(generations.c.day.between(first, last), generations.c.state.in_(("settled", "unknown")))
        .group_by(column)
        .order_by(column)
    )
    if tenant is not None:
        query = query.where(tenants.c.name == tenant)
    return [
        Spent(
            by,
            row.name,
            int(row.cost),
            int(row.generations),
            int(row.images_generated),
            int(row.images_failed),
            int(row.unknown),
        )
        for row in connection.execute(query)
    ]
