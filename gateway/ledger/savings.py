"""What replies that cost nothing saved: added up in the process, flushed into rows of a day every second.

A crash loses a second of counts, never money. Several processes add to the same rows.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Literal, NamedTuple, TypeAlias

import structlog
from sqlalchemy import Connection
from sqlalchemy.dialects import postgresql, sqlite

from gateway.database.engine import Database
from gateway.database.prepared import Many
from gateway.database.tables import savings
from gateway.errors import LedgerUnavailable
from gateway.money import Micros

FLUSH_SECONDS = 1.0

Way: TypeAlias = Literal["hits", "collapsed", "replayed"]
"""Why a reply cost nothing: the cache, another request's generation, a repeated idempotency key."""


class Whose(NamedTuple):
    """Whose reply it was: the key of a row. `end_user` is empty where none was named."""

    day: str
    tenant_id: str
    model: str
    provider: str
    key_id: str
    end_user: str = ""


Counts: TypeAlias = Mapping[Whose, Mapping[str, int]]

_OF = ("day", "tenant_id", "model", "provider", "key_id", "end_user")
_FIGURES = ("hits", "collapsed", "replayed", "saved")


def _adding(statement: postgresql.Insert | sqlite.Insert) -> postgresql.Insert | sqlite.Insert:
    added = {name: savings.c[name] + statement.excluded[name] for name in _FIGURES}
    return statement.on_conflict_do_update(index_elements=_OF, set_=added)


_ADD = Many(_adding(postgresql.insert(savings)), (*_OF, *_FIGURES), sqlite=_adding(sqlite.insert(savings)))


def add(connection: Connection, counts: Counts) -> None:
    """Add to the rows, in one order everywhere, so that no two processes wait for each other."""
    rows = [whose._asdict() | {name: counts[whose].get(name, 0) for name in _FIGURES} for whose in sorted(counts)]
    _ADD.run(connection, rows)


class Savings:
    """What one process counts."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._counts: defaultdict[Whose, Counter[str]] = defaultdict(Counter)
        self._flushing: asyncio.Task[None] | None = None
        self._log = structlog.get_logger("savings")

    def count(self, whose: Whose, way: Way, saved: Micros = 0) -> None:
        """Count a reply that cost nothing, and what it would have cost."""
        figures = self._counts[whose]
        figures[way] += 1
        figures["saved"] += saved

    async def run(self) -> None:
        """Flush every FLUSH_SECONDS until cancelled. With SQL away, counts are kept until it is back."""
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            try:
                await self.flush()
            except LedgerUnavailable as error:
                self._log.warning("savings not written yet", reason=error.detail)

    async def flush(self) -> None:
        """Write what was counted so far; its caller may be stopped, the writing is not.

        Raises LedgerUnavailable. What SQL refuses for its own sake is dropped and complained of.
        """
        if self._flushing is None:
            self._flushing = asyncio.create_task(self._flush())
        await asyncio.shield(self._flushing)

    async def close(self) -> None:
        """Write the rest, or say what is lost."""
        try:
            if self._flushing is not None:
                await self.flush()
            await self.flush()
        except LedgerUnavailable as error:
            self._log.warning("savings lost", rows=len(self._counts), reason=error.detail)

    async def _flush(self) -> None:
        counts, self._counts = self._counts, defaultdict(Counter)
        try:
            if counts:
                await self._database.write(lambda connection: add(connection, counts))
        except LedgerUnavailable as error:
            if not error.perhaps_done:  # rather a second's counts too few than twice
                for whose, figures in counts.items():
                    self._counts[whose].update(figures)
            raise
        except Exception as error:  # noqa: BLE001 -- a second's counts are worth no outage
            self._log.error("savings refused", reason=repr(error))
        finally:
            self._flushing = None
