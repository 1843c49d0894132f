"""The connection to Redis, against real servers: joined trips, crossed replies, time limits, breaker, notices."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest

from gateway.metrics import Metrics
from gateway.redis_link import Patience, RedisLink, RedisRefused, RedisUnavailable, Script, parse_address
from gateway.redis_link import notices as notices_module
from tests.contract.limits_backends import new_metrics, patience, sample, until
from tests.servers.ports import free_port
from tests.servers.redis import Server, redis_cluster, redis_server


@pytest.fixture(scope="module")
def shared_server() -> Iterator[Server]:
    """Run one server for the tests that leave it as it is."""
    with redis_server() as server:
        yield server


@asynccontextmanager
async def open_link(url: str, metrics: Metrics | None = None) -> AsyncIterator[RedisLink]:
    """Connect as one process does."""
    async with RedisLink(parse_address(url), new_metrics() if metrics is None else metrics) as link:
        yield link


def test_one_turn_is_one_trip(shared_server: Server) -> None:
    """Commands asked for in one turn of the event loop reach Redis as one write."""

    async def play() -> int:
        async with open_link(shared_server.url) as link:
            await link.call("PING", patience=patience())
            with shared_server.client() as client:
                before = client.info("stats")["total_reads_processed"]
                numbers = await asyncio.gather(*(link.call("INCR", "joined", patience=patience()) for _ in range(50)))
                reads = client.info("stats")["total_reads_processed"] - before
            assert numbers == list(range(1, 51))
            return int(reads)

    assert asyncio.run(play()) == 2, "one for the fifty, one for the INFO that counts them"


@pytest.mark.parametrize("cancellations", [400, pytest.param(10_000, marks=pytest.mark.full)])
@pytest.mark.parametrize("kind", ["single", "cluster"])
def test_cancelling_crosses_no_reply(kind: str, cancellations: int) -> None:
    """However callers are cancelled, everybody who gets a reply gets the reply to their own command."""
    chance = random.Random(7)  # noqa: S311 -- a repeatable story
    script = Script("return ARGV[1]")

    async def ask(link: RedisLink, number: int) -> bool:
        """Ask for one's own number, in one of three ways."""
        own = str(number)
        match number % 3:
            case 0:
                reply = await link.run(script, [f"key{number}"], [own], patience=patience())
            case 1:
                reply = await link.call("SET", f"key{number}", own, "GET", patience=patience())
                reply = own.encode() if reply is None else b"somebody's"
            case _:
                reply = await link.call("ECHO", own, patience=patience()) if kind == "single" else own.encode()
        assert reply == own.encode()
        return True

    async def play(url: str) -> None:
        async with open_link(url) as link:
            cancelled, number = 0, 0
            while cancelled < cancellations:
                tasks = []
                for _ in range(40):
                    number += 1
                    tasks.append(asyncio.create_task(ask(link, number)))
                for task in chance.sample(tasks, 20):
                    # A few turns of the loop: before sending, while sent, while replies come in.
                    for _ in range(chance.randint(0, 3)):
                        await asyncio.sleep(0)
                    task.cancel()
                outcomes = await asyncio.gather(*tasks, return_exceptions=True)
                cancelled += sum(isinstance(outcome, asyncio.CancelledError) for outcome in outcomes)
                wrong = [one for one in outcomes if one is not True and not isinstance(one, asyncio.CancelledError)]
                assert wrong == []
            assert link.up
            print(f"{number} commands, {cancelled} cancelled, 0 replies crossed")

    if kind == "single":
        with redis_server() as server:
            asyncio.run(play(server.url))
    else:
        with redis_cluster() as cluster:
            asyncio.run(play(cluster.url))


def test_script_is_loaded_again(shared_server: Server) -> None:
    """After SCRIPT FLUSH each script of a trip is sent in full, beside commands that need no script."""
    double = Script("return ARGV[1] * 2")

    async def play() -> list[Any]:
        async with open_link(shared_server.url) as link:
            await link.run(double, ["k"], [1], patience=patience())
            with shared_server.client() as client:
                client.script_flush()
            calls = [
                link.run(double, ["k"], [4], patience=patience()),
                link.call("ECHO", "between", patience=patience()),
                link.run(double, ["k"], [5], patience=patience()),
            ]
            return await asyncio.gather(*calls)

    assert asyncio.run(play()) == [8, b"between", 10]


def test_refusal_is_its_own(shared_server: Server) -> None:
    """An error reply fails the command it answers and none beside it, and is no reason to stop asking Redis."""

    async def play() -> None:
        async with open_link(shared_server.url) as link:
            await link.call("SET", "text", "x", patience=patience())
            for _ in range(10):
                calls = [link.call(*words, patience=patience()) for words in (("LPUSH", "text", "y"), ("GET", "text"))]
                replies: list[Any] = await asyncio.gather(*calls, return_exceptions=True)
                assert isinstance(replies[0], RedisRefused)
                assert replies[1] == b"x"
            assert link.up

    asyncio.run(play())


def test_frozen_redis_costs_one_request_its_patience_once() -> None:
    """With a Redis that answers nothing, a request waits at most 0.6 s in all, and later ones not at all."""

    async def play() -> None:
        metrics = new_metrics()
        with redis_server() as server:
            async with open_link(server.url, metrics) as link:
                assert sample(metrics, "gateway_redis_up") == 1
                with server.stopped():
                    waits = await asyncio.gather(*(_three_trips(link) for _ in range(100)))
                    while link.up:
                        waits.append(await _three_trips(link))
                    assert sample(metrics, "gateway_redis_up") == 0
                    at_once = await _three_trips(link)
                assert max(waits) < 1, "0.6 s, and what a loaded machine adds"
                assert at_once < 0.05
                await until(lambda: link.up, "Redis to be asked again", seconds=5)
                assert await link.call("ECHO", "back", patience=patience()) == b"back"

    asyncio.run(play())


async def _three_trips(link: RedisLink) -> float:
    """Ask three times as one request and return the seconds it took."""
    request, start = Patience(), time.monotonic()
    for _ in range(3):
        with pytest.raises(RedisUnavailable):
            await link.call("PING", patience=request)
    return time.monotonic() - start


def test_one_failed_trip_is_enough() -> None:
    """A request whose trip failed, however quickly, asks Redis no more; others still do."""

    async def play() -> None:
        with redis_server() as server:
            async with open_link(server.url) as link:
                server.kill()
                request = Patience()
                with pytest.raises(RedisUnavailable):
                    await link.call("PING", patience=request)
                assert link.up
                assert request.left == 0

    asyncio.run(play())


def test_absent_redis_is_no_reason_not_to_start() -> None:
    """A process starts without Redis, asks nothing of it, and finds it when it comes."""

    async def play() -> None:
        port = free_port()
        async with open_link(f"redis://127.0.0.1:{port}") as link:
            assert not link.up
            with pytest.raises(RedisUnavailable):
                await link.call("PING", patience=patience())
            with redis_server(port=port):
                await until(lambda: link.up, "Redis to be found", seconds=5)
                assert await link.call("ECHO", "hello", patience=patience()) == b"hello"

    asyncio.run(play())


def test_cluster_is_found_when_it_comes() -> None:
    """A process whose cluster is gone goes on without it, and finds it when its nodes are back."""

    async def play() -> None:
        with redis_cluster() as cluster:
            for node in cluster.nodes:
                node.kill()
            async with open_link(cluster.url) as link:
                assert not link.up
                for node in cluster.nodes:
                    node.start()
                await until(lambda: link.up, "the cluster to be found")
                assert await link.call("GET", "anything", patience=patience()) is None

    asyncio.run(play())


def test_restart_between_calls_goes_unnoticed(shared_server: Server) -> None:
    """Connections that Redis closed are replaced without failing a command."""

    async def play() -> None:
        async with open_link(shared_server.url) as link:
            for _ in range(10):
                assert await link.call("ECHO", "x", patience=patience()) == b"x"
                with shared_server.client() as client:
                    client.client_kill_filter(_type="normal", skipme=True)

    asyncio.run(play())


def test_notices_arrive_and_gaps_are_told(shared_server: Server) -> None:
    """A listener hears what is published, and is told whenever it may have missed something."""

    async def play() -> None:
        async with open_link(shared_server.url) as link, aclosing(link.notices("changes")) as notices:
            assert await anext(notices) is None
            await link.publish("changes", b"one", patience=patience())
            assert await anext(notices) == b"one"
            with shared_server.client() as client:
                client.client_kill_filter(_type="pubsub")
            assert await anext(notices) is None
            await link.publish("changes", b"two", patience=patience())
            assert await anext(notices) == b"two"

    asyncio.run(play())


def test_silence_is_told_from_a_lost_peer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A subscription that is merely quiet goes on; one whose server no longer answers begins anew."""
    monkeypatch.setattr(notices_module, "_QUIET_SECONDS", 0.1)

    async def play() -> None:
        with redis_server() as server:
            async with open_link(server.url) as link, aclosing(link.notices("changes")) as notices:
                assert await anext(notices) is None
                heard = asyncio.create_task(anext(notices))
                await _pass(0.5)
                await link.publish("changes", b"after a silence", patience=patience())
                assert await heard == b"after a silence"
                heard = asyncio.create_task(anext(notices))
                with server.stopped():
                    await _pass(0.5)
                async with asyncio.timeout(10):
                    assert await heard is None

    asyncio.run(play())


async def _pass(seconds: float) -> None:
    end = time.monotonic() + seconds
    await until(lambda: time.monotonic() >= end, "time to pass")
