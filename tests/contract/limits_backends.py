"""The backends a limiter is held to its protocol on, and limiters opened on them."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import count

from prometheus_client import CollectorRegistry

from gateway.limits import Limiter, LocalLimiter, Scope, SharedLimiter
from gateway.metrics import Metrics
from gateway.redis_link import Patience, RedisLink, parse_address

_numbers = count(1)


def fresh_id() -> str:
    """Return an id that no other test has used on a server they share."""
    return f"id{time.time_ns()}-{next(_numbers)}"


def tenant(**limits: object) -> Scope:
    """Return a tenant that no other test has used."""
    return Scope(id=fresh_id(), name="acme", **limits)  # type: ignore[arg-type]  # each test names the limits it is about


def new_metrics() -> Metrics:
    """Return instruments of their own for each process that a test plays."""
    return Metrics(CollectorRegistry())


def sample(metrics: Metrics, name: str, **labels: str) -> float:
    """Read one value, 0 when nothing was counted yet."""
    return metrics.registry.get_sample_value(name, labels) or 0.0


@asynccontextmanager
async def open_limiter(
    url: str | None, metrics: Metrics | None = None, *, processes: int = 1
) -> AsyncIterator[Limiter]:
    """Open the limiter of one process: in-process when there is no URL."""
    metrics = new_metrics() if metrics is None else metrics
    if url is None:
        async with LocalLimiter(metrics) as local:
            yield local
        return
    async with (
        RedisLink(parse_address(url), metrics) as link,
        SharedLimiter(link, metrics, processes=processes) as shared,
    ):
        assert link.up
        yield shared


def patience() -> Patience:
    """Return the patience of a new request; generous, since a loaded test machine may be slow."""
    return Patience(5)


async def until(condition: Callable[[], bool], what: str, seconds: float = 15) -> None:
    """Wait until a condition holds, or fail saying what was waited for."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        await asyncio.sleep(0.01)
