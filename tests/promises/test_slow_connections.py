"""Whoever sends a byte now and then, or nothing, is not waited for, and costs the others nothing meanwhile."""

import asyncio
import statistics
import time
from collections import defaultdict
from collections.abc import AsyncGenerator, Iterator
from contextlib import suppress
from dataclasses import dataclass

import pytest

from gateway.api.body import SECONDS as BODY_SECONDS
from gateway.life import KEEP_ALIVE_SECONDS
from gateway.protocol import HEADER_SECONDS
from tests.crowd import Asking, line
from tests.flow.wire import request
from tests.servers.pair import Pair, pair

NUMBER = 500
GRACE_SECONDS = 2.0
RISE_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Slow:
    """A way of being slow: what is sent at once, what once a second from then on, and when that is to end."""

    name: str
    at_once: bytes
    then: bytes
    seconds: float


def ways(key: str) -> list[Slow]:
    """List them."""
    json = (f"Authorization: {key}", "Content-Type: application/json")
    announced = request(*json, f"Content-Length: {1 << 20}", length=False)
    chunked = request(*json, "Transfer-Encoding: chunked", length=False)
    return [
        Slow("nothing", b"", b"", HEADER_SECONDS),
        Slow("headers", b"POST /images/generate HTTP/1.1\r\nHost: gateway\r\nX-Slow: ", b"x", HEADER_SECONDS),
        Slow("an announced body", announced + b'{"prompt":"', b"x", BODY_SECONDS),
        Slow("a body of unknown size", chunked, b"1\r\nx\r\n", BODY_SECONDS),
        Slow("no next request", request(method="GET", path="/livez"), b"", KEEP_ALIVE_SECONDS),
    ]


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Run a gateway by itself, as it comes."""
    with pair(tmp_path_factory.mktemp("slow")) as two:
        yield two


async def be_slow(port: int, way: Slow) -> float:
    """Be slow until the connection is closed; return how many seconds that took."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    begun = time.monotonic()
    try:
        writer.write(way.at_once)
        with suppress(ConnectionError):
            while not await ended(reader, 1.0):
                writer.write(way.then)
        return time.monotonic() - begun
    finally:
        writer.transport.abort()


async def ended(reader: asyncio.StreamReader, seconds: float) -> bool:
    """Read what comes for so long; tell whether that was the end."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while await reader.read(65536):
                pass
            return True
    return False


async def normally(both: Pair) -> AsyncGenerator[float, None]:
    """Ask for the same image again and again; say how long each answer took."""
    asking = Asking(both.key, {"prompt": "asked by many", "seed": 7})
    async with line(both.gateway.port) as one:
        while True:
            begun = time.monotonic()
            assert (await one.ask(asking)).status == 200
            yield time.monotonic() - begun


def p99(took: list[float]) -> float:
    """Return what 99 of 100 stay below."""
    return statistics.quantiles(took, n=100)[98]


@pytest.mark.full  # the deadlines are those that hold, and take their time; the unit tests have shorter ones
def test_slow_connections_are_closed_in_time(both: Pair) -> None:
    """Each is closed by its deadline and 2 s, and meanwhile a normal caller's p99 rises by at most 50 ms."""
    kinds = ways(both.key)

    async def story() -> tuple[dict[str, list[float]], list[float], list[float]]:
        took = normally(both)
        await anext(took)  # the one that is generated
        before = [await anext(took) for _ in range(1000)]
        slow = [asyncio.create_task(be_slow(both.gateway.port, kinds[index % len(kinds)])) for index in range(NUMBER)]
        meanwhile = [await anext(took)]
        while not all(one.done() for one in slow):
            meanwhile.append(await anext(took))
        closed = defaultdict[str, list[float]](list)
        for index, one in enumerate(slow):
            closed[kinds[index % len(kinds)].name].append(one.result())
        await took.aclose()
        return closed, before, meanwhile

    closed, before, meanwhile = asyncio.run(story())
    rise = p99(meanwhile) - p99(before)
    print(
        f"{NUMBER} slow connections, closed after "
        + ", ".join(f"{min(took):.1f} to {max(took):.1f} s ({name})" for name, took in closed.items())
        + f"; {len(meanwhile)} normal requests, p99 {p99(before) * 1000:.1f} ms before and"
        f" {p99(meanwhile) * 1000:.1f} ms meanwhile, {rise * 1000:.1f} ms more"
    )
    for way in kinds:
        assert min(closed[way.name]) >= way.seconds - 0.5
        assert max(closed[way.name]) <= way.seconds + GRACE_SECONDS
    assert rise <= RISE_SECONDS
    assert both.simulator.stats()["calls"] == 1
