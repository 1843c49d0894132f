"""A gateway of two workers with a day in the life of its tenants, and a Prometheus that watches it."""

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from tests.servers.gateway import GENERATE, Gateway, describe
from tests.servers.process import wait_until
from tests.servers.prometheus import Prometheus, prometheus
from tests.servers.redis import Server, redis_server
from tests.servers.simulator import Simulator, launched
from tests.servers.workers import SECRET

MODELS = ("flux-2-pro", "flux-2-pro", "flux-1.1-pro", "gemini-2.5-flash-image")
TENANTS: dict[str, dict[str, object]] = {
    "shop": {"cache": "all", "budget_day": "40", "budget_month": "500"},
    "studio": {"budget_month": "60"},
    "campaign": {"budget_total": "8", "cache": "all"},
    "intern": {"budget_day": "0.5"},
    "batch": {"requests_per_minute": 60, "burst": 5, "budget_month": "300"},
}
"""The last two run into their limits."""

ODD = ("[bad-image]", '[cost="none"]', "[refuse]", "[status=500]", "[close]")
"""Prompts of what goes wrong now and then: not kept, no usable cost, refused, failed, unknown."""


@dataclass(frozen=True, slots=True)
class Monitored:
    """All of it, and the keys of the tenants by name."""

    gateway: Gateway
    simulator: Simulator
    prometheus: Prometheus
    redis: Server
    keys: dict[str, str] = field(repr=False)


@contextmanager
def monitored(directory: Path, *simulator_options: str) -> Iterator[Monitored]:
    """Run it until the block ends. The tenants are there before it starts: its first look finds their budgets."""
    accounts = ("upstream-key-one", "upstream-key-two")
    with redis_server() as redis, launched(directory / "upstream", *simulator_options, keys=accounts) as upstream:
        gateway = describe(
            directory / "gateway",
            upstream=upstream.url,
            keys=accounts,
            workers="2",
            redis_url=redis.url,
            secret=SECRET,
        )
        gateway.data_dir.mkdir(mode=0o700)
        keys = {name: gateway.tenant(name, **policy) for name, policy in TENANTS.items()}
        try:
            with prometheus([f"127.0.0.1:{gateway.metrics_port}"]) as watching:
                gateway.begin()
                wait_until(lambda: '"event":"serving"' in gateway.log, "all workers to serve")
                upstream.await_ready()
                yield Monitored(gateway, upstream, watching, redis, keys)
        finally:
            gateway.end()


@dataclass(slots=True)
class Traffic:
    """Callers of all tenants. The same prompts come again, which a cache may answer."""

    one: Monitored
    choice: random.Random = field(default_factory=lambda: random.Random(7))  # noqa: S311 -- which prompt comes next
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    @asynccontextmanager
    async def session(self) -> AsyncIterator[aiohttp.ClientSession]:
        """Open connections to the gateway."""
        async with aiohttp.ClientSession(self.one.gateway.url, trust_env=False) as session:
            yield session

    async def ask(self, session: aiohttp.ClientSession, tenant: str, prompt: str | None = None) -> int:
        """Ask for an image of some model; return the status of the answer."""
        if prompt is None:
            prompt = f"poster {self.choice.randint(1, 40) if tenant == 'shop' else next(self.numbers)}"
        body = {"model": self.choice.choice(MODELS), "prompt": prompt, "aspect_ratio": "1:1"}
        headers = {"Authorization": f"Bearer {self.one.keys[tenant]}"}
        async with session.post(GENERATE, json=body, headers=headers) as answer:
            await answer.read()
            return answer.status

    async def burst(self) -> list[int]:
        """Let every tenant ask, some beyond their limits, and everything odd happen once; return the statuses."""
        async with self.session() as session:
            asked = [self.ask(session, tenant) for tenant in TENANTS for _ in range(20)]
            odd = [self.ask(session, "studio", prompt) for prompt in ODD]
            return await asyncio.gather(*asked, *odd)
