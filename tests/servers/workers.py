"""A gateway of two workers, the Redis that they share and their upstream; and callers of whom each worker has half."""

import asyncio
import hashlib
import os
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from signal import SIGCONT, SIGSTOP, Signals
from typing import Any

import aiohttp
import orjson
from sqlalchemy import text

from gateway.cli.access import administration, in_database
from gateway.data_dir import database_of
from gateway.settings import load
from tests.servers.gateway import GENERATE, Gateway, describe
from tests.servers.process import wait_until
from tests.servers.redis import Server, redis_server
from tests.servers.simulator import Simulator, launched

PRICE = 40_000
"""What each generation is quoted and billed here, in micro-yuan: the quote of the catalog is upstream's own price."""

CATALOG = """
[models."flux-2-pro"]
provider = "flux"
accepts = ["aspect_ratio", "seed"]
reply = "url"
price = { image = "0.04", currency = "CNY" }
"""

SECRET = hashlib.sha256(b"a secret of the tests").hexdigest()


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer as its caller saw it; the times are `time.monotonic()`."""

    status: int
    headers: Mapping[str, str]
    body: Any
    sent: float
    came: float

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.came - self.sent

    @property
    def text(self) -> str:
        """What a refusal says."""
        said: str = self.body["msg"]
        return said


@dataclass(frozen=True, slots=True)
class Caller:
    """A caller with one connection of its own, which stays open: all it asks is answered by one worker."""

    session: aiohttp.ClientSession
    url: str

    async def ask(self, key: str, prompt: str = "p", **members: object) -> Answer:
        """Ask for an image. Raises aiohttp.ClientError if the connection ends before the answer."""
        body = {"model": "flux-2-pro", "prompt": prompt} | members
        return await self._send("POST", GENERATE, key, orjson.dumps(body))

    async def look(self, key: str) -> Answer:
        """Ask what models there are: what a key may do, for nothing."""
        return await self._send("GET", "/models", key)

    async def _send(self, method: str, path: str, key: str, body: bytes | None = None) -> Answer:
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        sent = time.monotonic()
        async with self.session.request(method, self.url + path, data=body, headers=headers) as answer:
            content = await answer.read()
        return Answer(answer.status, dict(answer.headers), orjson.loads(content), sent, time.monotonic())

    async def connect(self) -> None:
        """Open the connection."""
        async with self.session.get(f"{self.url}/livez") as answer:
            assert answer.status == 200, await answer.text()


@asynccontextmanager
async def callers(gateway: Gateway, number: int) -> AsyncIterator[Sequence[Caller]]:
    """Give callers, connected. With several workers each has its share of them; with one, it has them all."""
    async with AsyncExitStack() as stack:
        found = []
        for _ in range(number):
            session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=1), timeout=aiohttp.ClientTimeout(total=60), trust_env=False
            )
            found.append(Caller(await stack.enter_async_context(session), gateway.url))
        pids = workers_of(gateway)
        for place, pid in enumerate(pids):
            # Whoever sleeps takes no connection: this worker is the only one to do so.
            with sleeping(*(other for other in pids if other != pid)):
                await asyncio.gather(*(caller.connect() for caller in found[place :: len(pids)]))
        if not pids:
            await asyncio.gather(*(caller.connect() for caller in found))
        yield found


def workers_of(gateway: Gateway) -> list[int]:
    """Return the process ids of its workers; none if it serves by itself."""
    return [int(pid) for pid in Path(f"/proc/{gateway.pid}/task/{gateway.pid}/children").read_text().split()]


@contextmanager
def sleeping(*pids: int) -> Iterator[None]:
    """Let processes do nothing while the block runs."""
    _signal(SIGSTOP, *pids)
    try:
        yield
    finally:
        _signal(SIGCONT, *pids)


def _signal(number: Signals, *pids: int) -> None:
    for pid in pids:
        os.kill(pid, number)


async def until(moment: float) -> None:
    """Wait until a moment of `time.monotonic()`."""
    while True:
        left = moment - time.monotonic()
        if left <= 0:
            return
        await asyncio.sleep(left)


def change(gateway: Gateway, tenant: str, *, disabled: bool | None = None, **policy: object) -> None:
    """Change a tenant by what `tenant update`, `disable` and `enable` call, but in this process: it is done at once."""
    configured = load(gateway.environment)
    admin = administration(configured)
    if policy:
        in_database(lambda one: admin.update_tenant(one, tenant, policy), configured)
    if disabled is not None:
        in_database(lambda one: admin.disable_tenant(one, tenant, disabled=disabled), configured)


def rows(gateway: Gateway, query: str) -> list[dict[str, Any]]:
    """Read the database of a gateway, whichever it is, and whatever version made its schema."""

    async def read() -> list[dict[str, Any]]:
        database = database_of(load(gateway.environment))
        try:
            return await database.read(
                lambda connection: [dict(row._mapping) for row in connection.execute(text(query))]
            )
        finally:
            await database.close()

    return asyncio.run(read())


def standing(gateway: Gateway, tenant: str) -> dict[str, tuple[int, int]]:
    """Return what a tenant spent and holds, in micro-yuan, by the period of the budget."""
    query = "SELECT period, spent, held FROM balances JOIN tenants ON scope = id WHERE name = '{}'"
    return {row["period"]: (row["spent"], row["held"]) for row in rows(gateway, query.format(tenant))}


@dataclass(frozen=True, slots=True)
class Team:
    """A gateway with all that it needs."""

    gateway: Gateway
    simulator: Simulator
    redis: Server


@contextmanager
def running(directory: Path, upstream: Simulator, **settings: str) -> Iterator[Gateway]:
    """Run a gateway with the catalog of one price; a PostgreSQL that it is given is migrated first."""
    directory.mkdir(parents=True, exist_ok=True)
    catalog = directory / "catalog.toml"
    catalog.write_text(CATALOG)
    named = {"catalog": str(catalog), "secret": SECRET} | settings
    one = describe(directory, upstream=upstream.url, keys=upstream.keys, **named)
    try:
        if "database_url" in settings:
            one.migrate()
        one.begin()
        # The first worker is ready before the last one.
        wait_until(lambda: '"event":"serving"' in one.log.replace(" ", ""), "all workers to serve")
        yield one
    finally:
        one.end()


@contextmanager
def team(directory: Path, **settings: str) -> Iterator[Team]:
    """Run two workers, their Redis and an upstream. `settings` are the gateway's, named as in `describe`."""
    with (
        redis_server() as redis,
        launched(directory / "upstream", "--image", "none") as upstream,
        running(directory / "gateway", upstream, workers="2", redis_url=redis.url, **settings) as serving,
    ):
        upstream.await_ready()
        yield Team(serving, upstream, redis)
