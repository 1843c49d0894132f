"""`GET /livez`: the process lives. `GET /readyz`: it may be sent traffic; how each store is, and what is degraded.

The ledger decides about readiness, since without it nothing can be accounted for; so does a spool that is full while
the image store is away. Else the stores are worth a look, not the traffic. A store is asked once at a time and once in
a while, however many probes come, so a flood of them reaches no store; one that hangs is down, and holds up a probe for
`PATIENCE_SECONDS` at the most.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from math import inf
from typing import Any, Literal, TypeAlias

import orjson
from fastapi import APIRouter
from starlette.responses import Response

from gateway.database.engine import Database, ping
from gateway.errors import LedgerUnavailable
from gateway.flow.supervisor import Supervisor
from gateway.images.spooled import SpooledStore
from gateway.images.store import StoreUnavailable
from gateway.redis_link import Patience, RedisLink, RedisUnavailable

PATIENCE_SECONDS = 2.0
DOWN_SECONDS = 0.25
"""For one that was down a moment ago nobody waits as long again."""

FRESH_SECONDS = 1.0
IMAGES_FRESH_SECONDS = 10.0
"""To look whether an image could be kept is to write something, which some stores charge for; keeping one tells too."""

LEDGER = "sql"

State: TypeAlias = Literal["up", "down"]


@dataclass(slots=True)
class Probe:
    """Knows how one store is: `ask` returns if it answers and raises one of `failures` if not."""

    ask: Callable[[], Awaitable[None]]
    failures: type[Exception]
    fresh: float = FRESH_SECONDS
    _state: State = "up"
    _asked_at: float = -inf
    _asking: asyncio.Task[None] | None = None

    async def state(self) -> State:
        """Return how it is, by an answer that is fresh or comes in time; while one is due it is not asked again."""
        now = time.monotonic()
        if self._asking is None and now - self._asked_at >= self.fresh:
            self._asked_at, self._asking = now, asyncio.create_task(self._ask(), name="probe")
        if self._asking is not None:
            patience = PATIENCE_SECONDS if self._state == "up" else DOWN_SECONDS
            _, due = await asyncio.wait([self._asking], timeout=max(0.0, self._asked_at + patience - now))
            if due:
                self._state = "down"
        return self._state

    async def _ask(self) -> None:
        try:
            await self.ask()
        except self.failures:
            self._state = "down"
        else:
            self._state = "up"
        finally:
            self._asking = None


def probes(database: Database, redis: RedisLink | None, store: SpooledStore | None) -> dict[str, Probe]:
    """Return a probe of each store that there is."""

    async def reach_redis(link: RedisLink) -> None:
        await link.call("EXISTS", "readyz", patience=Patience())

    async def reach_images(store: SpooledStore) -> None:
        if store.trouble is None and time.monotonic() - store.tried_at >= IMAGES_FRESH_SECONDS:
            await store.check()
        if store.trouble is not None:  # it is tried again and again already
            raise StoreUnavailable(store.trouble, "when it was last tried")

    found = {LEDGER: Probe(lambda: database.read(ping), LedgerUnavailable)}
    if redis is not None:
        found["redis"] = Probe(lambda: reach_redis(redis), RedisUnavailable)
    if store is not None:
        found["images"] = Probe(lambda: reach_images(store), StoreUnavailable)
    return found


@dataclass(frozen=True, slots=True)
class HealthRoute:
    """Health, without a key and without a trace in metrics and access log."""

    stores: Mapping[str, Probe]
    supervisor: Supervisor
    images: SpooledStore | None

    def router(self) -> APIRouter:
        """Return the routes."""
        router = APIRouter()
        router.add_api_route("/livez", self.livez, methods=["GET", "HEAD"], response_model=None)
        router.add_api_route("/readyz", self.readyz, methods=["GET", "HEAD"], response_model=None)
        return router

    async def livez(self) -> Response:
        """Say that the event loop turns; touches nothing."""
        return Response(b'{"status":"alive"}', media_type="application/json")

    async def readyz(self) -> Response:
        """Say whether generations can be taken now."""
        if self.supervisor.draining:
            return _answer("draining", {}, {})
        states = dict(
            zip(self.stores, await asyncio.gather(*(one.state() for one in self.stores.values())), strict=True)
        )
        return _answer(self._status(states), states, _spool(self.images))

    def _status(self, states: Mapping[str, State]) -> str:
        if states[LEDGER] != "up":
            return "ledger unavailable"
        if self.images is not None and not self.images.has_room(self.supervisor.running):
            return "images cannot be kept"
        return "ready"


def _spool(store: SpooledStore | None) -> dict[str, Any]:
    """Say what waits for the image store, and why, if anything does or would."""
    if store is None or (store.trouble is None and not store.spool.waiting):
        return {}
    spool = {"images": len(store.spool.waiting), "bytes": store.spool.size, "room": store.spool.room}
    return {"spool": {"waits_because": store.trouble} | spool}


def _answer(status: str, states: Mapping[str, State], more: Mapping[str, Any]) -> Response:
    degraded = [name for name, state in states.items() if state != "up"]
    said = {"status": status, "stores": states, "degraded": degraded, **more}
    return Response(orjson.dumps(said), 200 if status == "ready" else 503, media_type="application/json")
