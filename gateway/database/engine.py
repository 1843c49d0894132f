"""One way to SQL for SQLite and PostgreSQL: a transaction is a plain function of a connection.

`read` and `write` run such a function off the event loop: SQLite in threads of its own (one writer connection, since it
has one writer anyway), PostgreSQL through asyncpg. A transaction is thus one hop, not one for each statement, and the
functions that hold the SQL are the same for both. Out of reach or too slow: LedgerUnavailable, raised here alone.
"""

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import StaticPool

from gateway.errors import LedgerUnavailable

Result = TypeVar("Result")

BUSY_TIMEOUT_MS = 10_000
SWITCHES = 10
READERS = 4
CONNECT_SECONDS = 3
COMMAND_SECONDS = 5
SERVER_SETTINGS = {
    # A host that dies inside a transaction must not hold its tenants' rows for the two hours TCP would take.
    "idle_in_transaction_session_timeout": "10000",
    "lock_timeout": "3000",
    "tcp_keepalives_idle": "30",
    "tcp_keepalives_interval": "10",
    "tcp_keepalives_count": "3",
}

_CANNOT_SERVE = ("08", "25006", "28", "3D", "40", "53", "55P03", "57", "58")


class Database(Protocol):
    """A place to run transactions in."""

    dialect: str

    async def read(self, work: Callable[[Connection], Result]) -> Result:
        """Run `work` in a transaction that only reads. Raises LedgerUnavailable."""

    async def write(self, work: Callable[[Connection], Result]) -> Result:
        """Run `work` in a transaction and commit it durably. Raises LedgerUnavailable."""

    async def close(self) -> None:
        """Close every connection."""


def open_database(url: str) -> Database:
    """Make the database of a `sqlite:///…` or `postgresql://…` URL; nothing is contacted yet."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        return SQLite(parsed)
    return PostgreSQL(parsed)


def sqlite_url(path: Path) -> str:
    """Return the URL of a database file."""
    return URL.create("sqlite", database=str(path)).render_as_string()


class SQLite:
    """A file in WAL mode with synchronous=FULL: a commit that returned survives a power cut."""

    dialect = "sqlite"

    def __init__(self, url: URL) -> None:
        self._writer = self._engine(url, "BEGIN IMMEDIATE", poolclass=StaticPool)
        self._writing: Connection | None = None
        self._reader = self._engine(url, "BEGIN", pool_size=READERS)
        self._write_thread = ThreadPoolExecutor(1, "sqlite-write")
        self._read_threads = ThreadPoolExecutor(READERS, "sqlite-read")

    async def read(self, work: Callable[[Connection], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._read_threads, self._read, work)

    async def write(self, work: Callable[[Connection], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._write_thread, self._write, work)

    async def close(self) -> None:
        self._write_thread.shutdown()
        self._read_threads.shutdown()
        if self._writing is not None:
            self._writing.close()
        self._writer.dispose()
        self._reader.dispose()

    @staticmethod
    def _engine(url: URL, begin: str, **pool: Any) -> Engine:
        engine = create_engine(
            url, connect_args={"check_same_thread": False, "isolation_level": None}, hide_parameters=True, **pool
        )

        @event.listens_for(engine, "connect")
        def _configure(connection: Any, _record: object) -> None:
            settings = (f"busy_timeout = {BUSY_TIMEOUT_MS}", "synchronous = FULL", "foreign_keys = ON")
            for pragma in (*settings, "secure_delete = ON"):  # what is erased is not left in the file
                connection.execute(f"PRAGMA {pragma}")
            _write_ahead(connection)

        @event.listens_for(engine, "begin")
        def _begin(connection: Connection) -> None:
            # Past SQLAlchemy, whose cursor for it would cost as much as the insert that follows.
            connection.connection.driver_connection.execute(begin)  # type: ignore[union-attr]  # it is connected

        return engine

    def _read(self, work: Callable[[Connection], Result]) -> Result:
        try:
            with self._reader.begin() as connection:
                return work(connection)
        except (OperationalError, sqlite3.OperationalError) as error:
            raise _unavailable(error) from error

    def _write(self, work: Callable[[Connection], Result]) -> Result:
        """Run in the writer's thread, on a connection that stays checked out: there is no other user of it."""
        worked = False
        try:
            if self._writing is None:
                self._writing = self._writer.connect()
            with self._writing.begin():
                result = work(self._writing)
                worked = True
        except (OperationalError, sqlite3.OperationalError) as error:
            raise _unavailable(error, perhaps_done=worked) from error
        finally:
            self._end_transaction()
        return result

    def _end_transaction(self) -> None:
        """Roll back what a commit that failed has left open; the connection does not go back to a pool that would."""
        if self._writing is not None:
            driver: Any = self._writing.connection.driver_connection
            if driver.in_transaction:
                driver.rollback()


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Switch a database to WAL mode, which is the one thing that does not heed the busy timeout."""
    for _ in range(SWITCHES):
        try:
            (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
        except sqlite3.OperationalError:
            connection.execute("BEGIN IMMEDIATE")  # waits for whoever is making the database just now
            connection.execute("COMMIT")
        else:
            if mode != "wal":
                raise sqlite3.OperationalError(f"the file system allows no write-ahead log, only {mode}")
            return


class PostgreSQL:
    """A server that several processes share."""

    dialect = "postgresql"

    def __init__(self, url: URL) -> None:
        self._engine: AsyncEngine = create_async_engine(
            url.set(drivername="postgresql+asyncpg"),
            pool_size=8,
            max_overflow=0,
            pool_timeout=CONNECT_SECONDS,
            pool_pre_ping=False,
            hide_parameters=True,  # they hold prompts
            connect_args={
                "timeout": CONNECT_SECONDS,
                "command_timeout": COMMAND_SECONDS,
                "server_settings": SERVER_SETTINGS,
            },
        )

    async def read(self, work: Callable[[Connection], Result]) -> Result:
        return await self._run(work)

    async def write(self, work: Callable[[Connection], Result]) -> Result:
        return await self._run(work)

    async def close(self) -> None:
        await self._engine.dispose()

    async def _run(self, work: Callable[[Connection], Result]) -> Result:
        worked = False
        try:
            async with self._engine.begin() as connection:
                result = await connection.run_sync(work)
                worked = True
        except (OperationalError, InterfaceError, PoolTimeout, OSError, TimeoutError) as error:
            raise _unavailable(error, perhaps_done=worked) from error
        except DBAPIError as error:
            if error.connection_invalidated or cannot_serve(getattr(error.orig, "sqlstate", None)):
                raise _unavailable(error, perhaps_done=worked) from error
            raise
        return result


def cannot_serve(sqlstate: str | None) -> bool:
    """Say whether PostgreSQL refused for its own state and not for what was asked.

    It starts up, stops, was demoted, is full, lets nobody in, or gave up a transaction for another
    (https://www.postgresql.org/docs/current/errcodes-appendix.html).
    """
    return sqlstate is not None and sqlstate.startswith(_CANNOT_SERVE)


def _unavailable(error: Exception, *, perhaps_done: bool = False) -> LedgerUnavailable:
    cause = error.orig if isinstance(error, DBAPIError) else error
    unavailable = LedgerUnavailable(detail=f"{type(cause).__name__}: {cause}", retry_after=5)
    unavailable.perhaps_done = perhaps_done
    return unavailable


def ping(connection: Connection) -> None:
    """Ask the database for nothing."""
    connection.execute(text("SELECT 1"))
