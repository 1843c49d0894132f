"""`gateway erase`: what a tenant, or one of its end users, said and got is forgotten; what it cost stays."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

import typer
from prometheus_client import CollectorRegistry

from gateway import clock
from gateway.app import store_of
from gateway.cli.access import put, put_json, settings, with_database
from gateway.database.audit import record
from gateway.database.engine import Database
from gateway.errors import NotOver, Unavailable
from gateway.flow.erase import Caches, Eraser, ask_for_all
from gateway.ledger import erasure
from gateway.ledger.processes import eldest
from gateway.logs import configure
from gateway.metrics import Metrics
from gateway.redis_link import RedisLink, parse_address
from gateway.replies import LocalFlights, LocalReplies, SharedFlights, SharedReplies
from gateway.settings import Settings
from gateway.tenants.administration import find_tenant

ACTOR = "cli"
PATIENCE_SECONDS = 45.0
"""How long nothing may get any further before this command leaves the rest to the gateway."""
POLL_SECONDS = 0.2


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("erase")(erase)


def erase(
    tenant: Annotated[str, typer.Option(help="The tenant.", metavar="TENANT")],
    user: Annotated[
        str | None, typer.Option(help="Only what was generated for this end user of the tenant's.", metavar="USER")
    ] = None,
    *,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Erase images, prompts, replies and errors for good. The ledger keeps what each cost, and when.

    Works beside a running gateway and without one. What cannot be erased now, because a store is away, the gateway
    erases later by itself; then the exit status is 1.
    """
    configured = settings()
    configure("warning", "console")
    asked, running, waiting = with_database(lambda one: _erase(configured, one, tenant, user), configured)
    if json:
        put_json({"tenant": tenant, "user": user, "generations": asked, "running": running, "waiting": waiting})
    else:
        put(f"{asked} generations erased" if not waiting else f"{asked} generations to be erased, {waiting} still wait")
    if waiting:
        raise Unavailable(
            f"{waiting} generations wait for a store that is away; the gateway erases them when it is back"
        )
    if running:
        raise NotOver(f"{running} generations are still running: erase again when they have ended")


async def _erase(configured: Settings, database: Database, name: str, user: str | None) -> tuple[int, int, int]:
    """Return how many were asked for, how many still run, and how many of the tenant's wait."""
    tenant = await database.read(lambda sql: find_tenant(sql, name))
    asked, running = await ask_for_all(database, tenant.id, end_user=user)
    after = {"end_user": user, "generations": asked}
    await database.write(lambda sql: record(sql, ACTOR, "tenant.erase", name, before=None, after=after))
    async with _eraser(configured, database) as eraser:
        return asked, running, await _carried_out(eraser, tenant.id, cached_here=configured.redis_url is not None)


async def _carried_out(eraser: Eraser, tenant_id: str, *, cached_here: bool) -> int:
    """Erase what was asked for, or wait until a gateway with cached replies of its own has; return what waits on."""
    least, since = None, time.monotonic()
    while left := await eraser.database.read(lambda sql: erasure.count_waiting(sql, tenant_id)):
        if least is None or left < least:
            least, since = left, time.monotonic()
        elif time.monotonic() - since > PATIENCE_SECONDS:
            return left
        if not cached_here and await eraser.database.read(lambda sql: eldest(sql, clock.now())) is not None:
            await asyncio.sleep(POLL_SECONDS)
            continue
        doomed = await eraser.database.read(lambda sql: erasure.waiting(sql, tenant_id=tenant_id))
        if await eraser.carry_out(doomed) < len(doomed):
            break
    return left


@asynccontextmanager
async def _eraser(configured: Settings, database: Database) -> AsyncIterator[Eraser]:
    """Open what this command erases from. Without Redis replies are cached in the gateway itself, if it runs."""
    metrics = Metrics(CollectorRegistry())
    store = store_of(configured, metrics)
    try:
        if configured.redis_url is None:
            yield Eraser(database, Caches(LocalReplies(), LocalFlights(), one_each=False), store)
            return
        async with RedisLink(parse_address(configured.redis_url), metrics) as link:
            caches = Caches(SharedReplies(link, metrics), SharedFlights(link, metrics), one_each=False)
            yield Eraser(database, caches, store)
    finally:
        if store is not None:
            await store.close()
