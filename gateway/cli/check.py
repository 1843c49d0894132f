"""`gateway check-config`: every fault at once."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated

import typer
from prometheus_client import CollectorRegistry

from gateway import data_dir
from gateway.app import store_of, upstream_of
from gateway.catalog import CatalogFault, load
from gateway.cli.access import say, settings
from gateway.database.engine import ping
from gateway.database.migrate import NotMigrated, require_head
from gateway.errors import LedgerUnavailable, Misconfigured
from gateway.images.store import StoreUnavailable
from gateway.metrics import Metrics
from gateway.settings import Settings


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("check-config")(check_config)


def check_config(
    *, contact: Annotated[bool, typer.Option("--contact", help="Try the stores and upstream too.")] = False
) -> None:
    """Check the settings and the catalog as `serve` would. Contacts nothing, unless asked to."""
    configured = settings()
    faults = configured.faults_to_serve() + _faults_of_directory(configured.data_dir)
    try:
        load(configured.catalog)
    except CatalogFault as fault:
        faults.extend(fault.faults)
    try:
        store_of(configured, Metrics(CollectorRegistry()))
    except Misconfigured as fault:
        faults.extend(fault.faults)
    if contact and not faults:
        faults.extend(asyncio.run(_contact(configured)))
    if faults:
        raise Misconfigured(faults)
    say("the configuration is good")


def _faults_of_directory(directory: Path) -> list[str]:
    """Say why `serve` could not use the data directory, or make it; nothing is made to find out."""
    if os.path.lexists(directory):
        if not directory.is_dir():
            return [f"GATEWAY_DATA_DIR: {directory} is no directory"]
        usable = os.access(directory, os.W_OK | os.X_OK)
        return [] if usable else [f"GATEWAY_DATA_DIR: {directory} cannot be written to"]
    above = next(parent for parent in directory.absolute().parents if os.path.lexists(parent))
    if above.is_dir() and os.access(above, os.W_OK | os.X_OK):
        return []
    return [f"GATEWAY_DATA_DIR: {directory} cannot be made in {above}"]


async def _contact(configured: Settings) -> list[str]:
    return [fault async for fault in _tried(configured)]


async def _tried(configured: Settings) -> AsyncIterator[str]:
    """Try each part in turn, and say what is wrong with it."""
    data_dir.prepare(configured.data_dir)
    database = data_dir.database_of(configured)
    try:
        await database.read(ping if configured.database_url is None else require_head)
        say("database: reached")
    except LedgerUnavailable as error:
        yield f"GATEWAY_DATABASE_URL: the database cannot be used: {error.detail}"
    except NotMigrated as error:
        yield f"GATEWAY_DATABASE_URL: {error}"
    finally:
        await database.close()
    metrics = Metrics(CollectorRegistry())
    store = store_of(configured, metrics)
    if store is not None:
        try:
            await store.check()
            say("image store: written to")
        except StoreUnavailable as error:
            yield f"GATEWAY_STORAGE_URL: images cannot be kept: {error}"
        finally:
            await store.close()
    upstream = upstream_of(configured, metrics)
    try:
        fault = await upstream.check()
        if fault is None:
            say("upstream: reached")
        else:
            yield f"GATEWAY_UPSTREAM_URL: {fault}"
    finally:
        await upstream.close()
