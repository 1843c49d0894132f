"""Reports: what was spent and what was saved, by the local day of the reservation (GATEWAY_TIMEZONE at that moment).

The rows of the ledger are added up each time they are asked for; there is no second truth. An index holds all that is
read of them (`generations_spent`), so that a month of a million generations takes about a second.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import date, timedelta
from typing import Any, Literal, TypeAlias, get_args

from sqlalchemy import Column, ColumnElement, Connection, Select, case, func, literal_column, not_, select

from gateway.database.engine import Database
from gateway.database.tables import generations, savings, tenants
from gateway.ledger.find import is_repeat
from gateway.money import Micros, format_yuan

Grouping: TypeAlias = Literal["day", "model", "tenant", "provider", "key", "user"]

GROUPINGS: tuple[Grouping, ...] = get_args(Grouping)

_COLUMNS: Mapping[Grouping, str] = {
    "day": "day",
    "model": "model",
    "tenant": "tenant_id",
    "provider": "provider",
    "key": "key_id",
    "user": "end_user",
}


@dataclass(frozen=True, slots=True)
class Question:
    """What is to be reported: the days from `first` to `last`, both included, of one tenant (its id) or of all.

    A page of the report are the rows whose names come after `after`, at most `limit` of them.
    """

    by: Grouping
    first: str
    last: str
    tenant_id: str | None = None
    after: str | None = None
    limit: int | None = None


@dataclass(frozen=True, slots=True)
class Spent:
    """One row of a report. Settled generations alone have a cost; what unknown ones may cost is told apart.

    `name` is None for what no end user was named for. `hits`, `collapsed` and `replayed` are replies that cost nothing:
    from the cache, from another request's generation, for a repeated idempotency key. The first two saved something.
    """

    by: Grouping
    name: str | None
    cost: Micros = 0
    settled: int = 0
    released: int = 0
    reserved: int = 0
    unknown: int = 0
    unknown_cost: Micros = 0
    images_generated: int = 0
    images_failed: int = 0
    hits: int = 0
    collapsed: int = 0
    replayed: int = 0
    saved: Micros = 0

    def shown(self) -> dict[str, Any]:
        """Return it as JSON has it, in the order in which CSV has it."""
        return {
            self.by: self.name,
            "cost_yuan": format_yuan(self.cost),
            "generations": self.settled + self.released + self.reserved + self.unknown,
            "settled": self.settled,
            "released": self.released,
            "reserved": self.reserved,
            "unknown": self.unknown,
            "unknown_yuan": format_yuan(self.unknown_cost),
            "images_generated": self.images_generated,
            "images_failed": self.images_failed,
            "hits": self.hits,
            "collapsed": self.collapsed,
            "replayed": self.replayed,
            "saved_yuan": format_yuan(self.saved),
        }


_FIGURES = tuple(field.name for field in fields(Spent) if field.name not in ("by", "name"))


class Reports:
    """Makes the reports of one process, one at a time: each keeps a reader of the database busy while it is made."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._turn = asyncio.Lock()

    async def spend(self, question: Question) -> Sequence[Spent]:
        """Add up. Raises LedgerUnavailable."""
        async with self._turn:
            return await self._database.read(lambda connection: spend(connection, question))


def columns_of(by: Grouping) -> list[str]:
    """Return the names that `shown` has, in order."""
    return list(Spent(by, None).shown())


def month_so_far(today: str) -> tuple[str, str]:
    """Return the first and the last day of a report that names none: the local month up to today."""
    return today[:7] + "-01", today


def spend(connection: Connection, question: Question) -> Sequence[Spent]:
    """Add up, a month at a time, so that no statement takes long; return the rows sorted by name."""
    sums: defaultdict[str, Sequence[int]] = defaultdict(lambda: (0,) * len(_FIGURES))
    for days in _months(connection, question):
        for query in (_generations(question, days), _savings(question, days)):
            for name, *figures in connection.execute(_page(connection, query, question)):
                sums[name] = [so_far + int(figure) for so_far, figure in zip(sums[name], figures, strict=True)]
    names = {name: name for name in sums}
    if question.by == "tenant":
        names = {row.name: row.id for row in connection.execute(select(tenants.c.name, tenants.c.id)) if row.id in sums}
    chosen = sorted(name for name in names if question.after is None or name > question.after)[: question.limit]
    return [Spent(question.by, name or None, *sums[names[name]]) for name in chosen]


def _months(connection: Connection, question: Question) -> Iterator[list[str]]:
    """Yield the days in question, a month at a time; none before the first or after the last that there are."""
    ends = [
        connection.scalar(select(end(table.c.day))) for table in (generations, savings) for end in (func.min, func.max)
    ]
    known = [day for day in ends if day is not None]
    if not known:
        return
    day, last = (date.fromisoformat(end) for end in (max(question.first, min(known)), min(question.last, max(known))))
    days: list[str] = []
    while day <= last:
        days.append(day.isoformat())
        day += timedelta(days=1)
        if day.day == 1 or day > last:
            yield days
            days = []


def _generations(question: Question, days: Sequence[str]) -> Select[*tuple[Any, ...]]:
    row = generations.c
    settled, unknown = row.state == "settled", row.state == "unknown"
    figures = _figures(
        cost=_sum(settled, row.cost),
        settled=_sum(settled, 1),
        released=_sum(row.state == "released", 1),
        reserved=_sum(row.state == "reserved", 1),
        unknown=_sum(unknown, 1),
        unknown_cost=_sum(unknown, row.quote),
        images_generated=_sum(settled, row.images_generated),
        images_failed=_sum(settled, row.images_failed),
    )
    query = select(_name(row[_COLUMNS[question.by]]), *figures)
    # Days one by one, not from and to: the index has the day first, so a tenant reads its own rows alone.
    query = query.where(row.day.in_(days), not_(is_repeat()))
    return query if question.tenant_id is None else query.where(row.tenant_id == question.tenant_id)


def _savings(question: Question, days: Sequence[str]) -> Select[*tuple[Any, ...]]:
    row = savings.c
    figures = _figures(**{name: func.sum(row[name]) for name in ("hits", "collapsed", "replayed", "saved")})
    query = select(_name(row[_COLUMNS[question.by]]), *figures).where(row.day.in_(days))
    return query if question.tenant_id is None else query.where(row.tenant_id == question.tenant_id)


def _figures(**known: ColumnElement[int]) -> list[ColumnElement[int]]:
    """Return a column for each figure of a row, in order: 0 for what this table knows nothing of."""
    nothing: ColumnElement[int] = literal_column("0")
    return [known.get(name, nothing).label(name) for name in _FIGURES]


def _name(column: Column[Any]) -> ColumnElement[str]:
    # Not as a parameter: PostgreSQL would not see that what is chosen is what is grouped by.
    return (func.coalesce(column, literal_column("''")) if column.nullable else column).label("name")


def _sum(condition: ColumnElement[bool], value: Any) -> ColumnElement[int]:
    return func.sum(case((condition, value), else_=0))


def _page(connection: Connection, query: Select[*tuple[Any, ...]], question: Question) -> Select[*tuple[Any, ...]]:
    """Group by name. Where a page is wanted, no part of the report needs more rows than the page has.

    Tenants are sorted by their names later on, and are few.
    """
    name = query.selected_columns[0]
    query = query.group_by(name)
    if question.limit is None or question.by == "tenant":
        return query
    # PostgreSQL would sort by the language of its database, Python and SQLite by code points.
    ordered = name.element.collate("C") if connection.dialect.name == "postgresql" else name.element
    query = query.order_by(ordered).limit(question.limit)
    return query if question.after is None else query.where(ordered > question.after)
