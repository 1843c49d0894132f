"""Stopping and replacing workers fails nobody: what runs is finished and paid for once, what is new goes elsewhere."""

import asyncio
import signal
import time
from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, suppress
from pathlib import Path

from tests.crowd import Answer, Asking, Line, line
from tests.servers.fleet import Fleet, fleet
from tests.servers.gateway import describe
from tests.servers.pair import pair
from tests.servers.process import wait_until
from tests.servers.redis import Server
from tests.servers.simulator import launched
from tests.servers.workers import SECRET, workers_of

RATE = 20


def test_a_stop_finishes_what_runs(
    tmp_path: Path, postgres_url: str, redis: Server, count: Callable[[int, int], int]
) -> None:
    """After SIGTERM all calls in flight get their 200 and settle; newcomers are told at once; the exit status is 0."""
    number, seconds = count(10, 50), count(2, 5)
    with fleet(tmp_path, postgres_url, redis_url=redis.url, workers="2") as serving:
        gateway = serving.gateway

        def readiness() -> int:
            return gateway.http.get("/readyz", headers={"Connection": "close"}).status_code

        with ThreadPoolExecutor(number) as pool:
            running = [
                pool.submit(gateway.post, serving.key, prompt=f"call {index} [delay={seconds}]")
                for index in range(number)
            ]
            wait_until(lambda: bool(serving.simulator.stats()["open"] == number), "the calls to be upstream")
            signalled = time.monotonic()
            gateway.send(signal.SIGTERM)
            # Two workers drain, either of which may answer: so many refusals in a row are both.
            wait_until(lambda: all(readiness() == 503 for _ in range(10)), "both workers to say that they drain")
            said = time.monotonic() - signalled
            late = gateway.post(serving.key, prompt="too late", headers={"Connection": "close"})
            answers = [answer.result() for answer in running]
        status = gateway.ended()
        books = serving.books()
        print(
            f"SIGTERM with {number} calls of {seconds} s: {Counter(answer.status_code for answer in answers)},"
            f" readiness 503 after {said * 1000:.0f} ms, {dict(books.states)}, exit status {status}"
        )
        assert (late.status_code, late.json()) == (503, {"code": -1, "msg": "The gateway is shutting down"})
        assert int(late.headers["retry-after"]) >= 1
        assert {answer.status_code for answer in answers} == {200}
        assert said < seconds
        assert status == 0
        assert books.states == {"settled": number}
        assert books.cost == books.spent == serving.billed()
        assert (books.held, books.images) == (0, number)
        assert "Traceback" not in gateway.log


def test_a_stop_among_the_first_requests_hurries_nobody(tmp_path: Path, redis: Server) -> None:
    """SIGTERM while workers still start lets the one that serves already finish what it was asked; exit status 0."""
    with launched(tmp_path / "upstream") as upstream:
        gateway = describe(
            tmp_path / "gateway",
            upstream=upstream.url,
            keys=upstream.keys,
            redis_url=redis.url,
            workers="4",
            secret=SECRET,
        )
        key = gateway.tenant("early")
        try:
            gateway.begin()
            upstream.await_ready()
            with ThreadPoolExecutor(1) as pool:
                running = pool.submit(gateway.post, key, prompt="[delay=1]")
                wait_until(lambda: bool(upstream.stats()["open"] == 1), "the call to be upstream")
                started = len(workers_of(gateway))
                gateway.send(signal.SIGTERM)
                status, answer = gateway.ended(), running.result()
        finally:
            gateway.end()
        print(f"SIGTERM with {started} of 4 workers started: {answer.status_code}, exit status {status}")
        assert (answer.status_code, status) == (200, 0)


async def load(serving: Fleet, ended: asyncio.Event) -> list[Answer]:
    """Ask RATE times a second until told to end, by turns over connections that are kept open and over new ones.

    A failed request raises what it failed with.
    """
    asked: list[asyncio.Task[Answer]] = []
    idle: deque[Line] = deque()

    async with AsyncExitStack() as stack, asyncio.TaskGroup() as group:

        async def over_kept(asking: Asking) -> Answer:
            kept = idle.popleft() if idle else await stack.enter_async_context(line(serving.gateway.port))
            answer = await kept.ask(asking)
            if answer.headers.get("connection") != "close":
                idle.append(kept)
            return answer

        async def over_new(asking: Asking) -> Answer:
            async with line(serving.gateway.port) as new:
                return await new.ask(asking)

        began = time.monotonic()
        while not ended.is_set():
            asking = Asking(serving.key, {"prompt": f"picture {len(asked)} [delay=0.2]"})
            asked.append(group.create_task((over_new if len(asked) % 2 else over_kept)(asking)))
            with suppress(TimeoutError):
                await asyncio.wait_for(ended.wait(), max(0.0, began + len(asked) / RATE - time.monotonic()))
    return [one.result() for one in asked]


def test_replacing_workers_fails_nobody(
    tmp_path: Path, postgres_url: str, redis: Server, count: Callable[[int, int], int]
) -> None:
    """SIGHUP under 20 requests a second replaces both workers while every request, over whatever connection, is 200."""
    rounds = count(1, 5)
    with fleet(tmp_path, postgres_url, redis_url=redis.url, workers="2") as serving:

        def replaced(times: int) -> None:
            wait_until(lambda: serving.gateway.log.count("workers replaced") == times, "the workers to be replaced", 60)

        async def replace_under_load() -> list[Answer]:
            ended = asyncio.Event()
            loaded = asyncio.create_task(load(serving, ended))
            for number in range(rounds):
                old = set(workers_of(serving.gateway))
                serving.gateway.send(signal.SIGHUP)
                await asyncio.to_thread(replaced, number + 1)
                assert not old & set(workers_of(serving.gateway))
            ended.set()
            return await loaded

        answers = asyncio.run(replace_under_load())
        statuses = Counter(answer.status for answer in answers)
        closed = sum(answer.headers.get("connection") == "close" for answer in answers)
        print(
            f"SIGHUP, {rounds} times, at {RATE}/s on 2 workers: {dict(statuses)}, {closed} told to use a new connection"
        )
        assert statuses == {200: len(answers)}
        assert closed >= 1, "a keep-alive connection has met a worker that leaves"
        books = serving.books()
        assert books.states == {"settled": len(answers)}
        assert books.cost == serving.billed()
        assert books.held == 0


def test_a_lone_worker_ignores_the_wish_to_be_replaced(tmp_path: Path) -> None:
    """With one worker SIGHUP changes nothing, and the log says so."""
    with pair(tmp_path) as both:
        both.gateway.send(signal.SIGHUP)
        wait_until(lambda: "SIGHUP is ignored" in both.gateway.log, "the log to say so")
        assert both.post().status_code == 200
        assert both.gateway.stop() == 0
