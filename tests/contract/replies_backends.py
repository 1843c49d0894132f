"""The backends that caches and flights are held to their protocols on, and what stands for processes on them."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from gateway.metrics import Metrics
from gateway.redis_link import RedisLink, parse_address
from gateway.replies import Flights, LocalFlights, LocalReplies, Replies, SharedFlights, SharedReplies
from tests.contract.limits_backends import new_metrics
from tests.servers.redis import redis_cluster, redis_sentinels, redis_server, system_redis, wheel_redis

BACKENDS = ("in-process", "redis-system", "redis-6.2", "cluster")


def backend_url(kind: str) -> Iterator[str | None]:
    """Run a backend while the iterator is open, and give its URL; None is in-process."""
    match kind:
        case "in-process":
            yield None
        case "redis-system":
            if system_redis() is None:
                pytest.skip("no redis-server is installed")
            with redis_server(system_redis()) as server:
                yield server.url
        case "redis-6.2":
            with redis_server(wheel_redis()) as server:
                yield server.url
        case "sentinel":
            with redis_sentinels() as sentinels:
                yield sentinels.url
        case "cluster":
            with redis_cluster() as cluster:
                yield cluster.url


@asynccontextmanager
async def open_replies(url: str | None, metrics: Metrics | None = None) -> AsyncIterator[Replies]:
    """Open the cache of one process."""
    if url is None:
        yield LocalReplies()
        return
    metrics = new_metrics() if metrics is None else metrics
    async with RedisLink(parse_address(url), metrics) as link:
        assert link.up
        yield SharedReplies(link, metrics)


@asynccontextmanager
async def open_flights(
    url: str | None, metrics: Metrics | None = None, *, lease_seconds: float = 10, poll_seconds: float = 0.5
) -> AsyncIterator[Flights]:
    """Open the flights of one process."""
    if url is None:
        async with LocalFlights() as local:
            yield local
        return
    metrics = new_metrics() if metrics is None else metrics
    async with (
        RedisLink(parse_address(url), metrics) as link,
        SharedFlights(link, metrics, lease_seconds=lease_seconds, poll_seconds=poll_seconds) as shared,
    ):
        yield shared


@asynccontextmanager
async def open_processes(url: str | None, number: int = 2) -> AsyncIterator[list[Flights]]:
    """Open the flights of several processes; in-process they are one and the same."""
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(open_flights(url))
        others = [
            first if url is None else await stack.enter_async_context(open_flights(url)) for _ in range(1, number)
        ]
        yield [first, *others]
