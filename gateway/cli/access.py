"""How commands reach the database, and how they print."""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import orjson
from prometheus_client import CollectorRegistry
from rich.console import Console
from rich.table import Table
from rich.text import Text
from sqlalchemy import Connection

from gateway import data_dir
from gateway.catalog import load as load_catalog
from gateway.database.engine import Database
from gateway.guard import Guard
from gateway.metrics import Metrics
from gateway.redis_link import RedisLink, parse_address
from gateway.settings import Settings, load
from gateway.spreadsheet import to_csv
from gateway.tenants.administration import Administration
from gateway.tenants.keys import Pepper
from gateway.tenants.notices import publish
from gateway.webhooks.endpoints import Endpoints
from gateway.webhooks.signature import Signer

Result = TypeVar("Result")

ACTOR = "cli"
"""Who the audit trail says it was."""


def settings() -> Settings:
    """Read the settings from the environment. Raises Misconfigured."""
    return load(os.environ)


def in_database(work: Callable[[Connection], Result], configured: Settings | None = None) -> Result:
    """Run `work` in one transaction; an embedded database is made and migrated first."""
    return with_database(lambda database: database.write(work), configured)


def change(work: Callable[[Connection], Result], configured: Settings) -> Result:
    """Run `work`, which changes a tenant or a key, in one transaction; with Redis every gateway hears of it at once."""

    async def changing(database: Database) -> Result:
        changed = await database.write(work)
        if configured.redis_url is not None:
            async with RedisLink(parse_address(configured.redis_url), Metrics(CollectorRegistry())) as link:
                await publish(link, None)
        return changed

    return with_database(changing, configured)


def with_database(work: Callable[[Database], Awaitable[Result]], configured: Settings | None = None) -> Result:
    """Run `work`, which makes transactions of its own; an embedded database is made and migrated first."""
    configured = settings() if configured is None else configured
    data_dir.prepare(configured.data_dir)

    async def run() -> Result:
        database = data_dir.database_of(configured)
        try:
            await data_dir.migrate_embedded(configured, database)
            return await work(database)
        finally:
            await database.close()

    return asyncio.run(run())


def administration(configured: Settings) -> Administration:
    """Return who changes tenants and keys: whoever may run this command."""
    data_dir.prepare(configured.data_dir)
    known = frozenset(model.name for model in load_catalog(configured.catalog).models)
    return Administration(actor=ACTOR, pepper=Pepper(data_dir.secrets_of(configured)), known_models=known)


def endpoints(configured: Settings) -> Endpoints:
    """Return who sets up webhook endpoints, by the rules of the gateway that will call them."""
    data_dir.prepare(configured.data_dir)
    return Endpoints(Signer(data_dir.secrets_of(configured)), Guard(configured.fetch_allow))


def say(text: str) -> None:
    """Tell people something, on standard error."""
    sys.stderr.write(f"{text}\n")


def put(text: str) -> None:
    """Give a script what it wants, on standard output."""
    sys.stdout.write(f"{text}\n")


def put_json(value: Any) -> None:
    """Give a script JSON."""
    put(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode())


def put_csv(columns: Sequence[str], rows: Sequence[Sequence[str | int | None]]) -> None:
    """Give a spreadsheet CSV."""
    sys.stdout.write(to_csv(columns, rows))


def put_table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, empty: str, right: Sequence[str] = ()) -> None:
    """Print a table; with no rows, say so on standard error."""
    if not rows:
        say(empty)
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", no_wrap=True)
    for row in rows:
        table.add_row(*map(Text, row))  # a label is text, whatever brackets it has
    # As wide as it needs to be, whatever the terminal is: an id or an amount that is cut off is of no use.
    Console(highlight=False, width=1000).print(table)
