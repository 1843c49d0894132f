"""Statements of the hot path, compiled once. On SQLite they go to the driver itself.

SQLAlchemy spends 40 to 80 µs on each execution, which is what a small group commit is made of; the driver takes 5. The
statements themselves are SQLAlchemy's on both databases.
"""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from sqlalchemy import ColumnElement, Connection, Select, bindparam, tuple_
from sqlalchemy.dialects.sqlite import dialect
from sqlalchemy.sql.dml import Insert, Update

_SQLITE = dialect(paramstyle="named")

Values: TypeAlias = Mapping[str, object]


class Many:
    """A change that is made with many sets of values at once."""

    def __init__(self, change: Insert | Update, names: Sequence[str], *, sqlite: Insert | None = None) -> None:
        """Take the statement and the names of its values; and SQLite's form of it, if that is another."""
        self._change = change
        compiled = (change if sqlite is None else sqlite).compile(dialect=_SQLITE, column_keys=list(names))
        if set(compiled.params) != set(names):
            raise ValueError(f"the statement takes {sorted(compiled.params)}, not {sorted(names)}")
        self._text = str(compiled)

    def run(self, connection: Connection, values: Sequence[Values]) -> None:
        """Make the change, once for each set of values; with none it does nothing."""
        if not values:
            return
        if connection.dialect.name == "sqlite":
            _driver(connection).executemany(self._text, values)
        else:
            connection.execute(self._change, values)


class ByKey:
    """A query for the rows of some keys, each a tuple of as many values as there are columns that make a row unique."""

    def __init__(self, query: Select[*tuple[Any, ...]], columns: Sequence[ColumnElement[str]]) -> None:
        """Take the query without its condition, and the columns."""
        self._query = query.where(tuple_(*columns).in_(bindparam("keys", expanding=True)))
        names = [f"key{place}" for place in range(len(columns))]
        same = [column == bindparam(name) for column, name in zip(columns, names, strict=True)]
        self._text = str(query.where(*same).compile(dialect=_SQLITE))
        self._names = names

    def fetch(self, connection: Connection, keys: Sequence[tuple[str, ...]]) -> list[tuple[Any, ...]]:
        """Return the rows that there are, in any order."""
        if not keys:
            return []
        if connection.dialect.name != "sqlite":
            return [tuple(row) for row in connection.execute(self._query, {"keys": keys})]
        driver = _driver(connection)
        named = (dict(zip(self._names, key, strict=True)) for key in keys)
        found = (driver.execute(self._text, values).fetchone() for values in named)
        return [row for row in found if row is not None]


def _driver(connection: Connection) -> Any:
    return connection.connection.driver_connection
