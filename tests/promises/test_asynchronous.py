"""Asynchronous generations: accepted at once, and each ends settled or unknown whoever is killed, none sent twice."""

import asyncio
import os
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from signal import SIGKILL

import httpx
import pytest

from tests.crowd import Answer, Asking, Line, lines
from tests.servers.fleet import Fleet, fleet
from tests.servers.pair import Pair, pair
from tests.servers.process import wait_until
from tests.servers.redis import Server
from tests.servers.workers import workers_of

AT_ONCE = 8
ASYNC = {"Prefer": "respond-async"}


async def accepted(both: Pair | Fleet, asked: list[Asking]) -> list[tuple[float, Answer]]:
    """Ask over AT_ONCE connections to each worker; return how long each answer took, and what it was."""
    waiting = iter(asked)
    answers = []
    async with lines(both.gateway, AT_ONCE) as opened:

        async def press(line: Line) -> None:
            for asking in waiting:
                begun = time.monotonic()
                answer = await line.ask(asking)
                answers.append((time.monotonic() - begun, answer))

        await asyncio.gather(*(press(line) for each in opened.values() for line in each))
    return answers


def test_a_202_is_there_within_150_ms(tmp_path: Path, count: Callable[[int, int], int]) -> None:
    """Over 8 connections at once, with upstream taking seconds, 99 of 100 callers have their 202 within 150 ms."""
    number = count(100, 1000)
    with pair(tmp_path, "--delay", "2") as both:
        asked = [Asking(both.key, {"prompt": f"number {one}"}, ASYNC) for one in range(number)]
        answers = asyncio.run(accepted(both, asked))
        took = sorted(seconds for seconds, _ in answers)
        p99 = took[int(number * 0.99) - 1]
        print(
            f"{number} asynchronous asks over {AT_ONCE} connections: 202 after {took[number // 2] * 1000:.0f} ms p50, "
            f"{p99 * 1000:.0f} ms p99"
        )
        assert {answer.status for _, answer in answers} == {202}
        assert len({answer.envelope["id"] for _, answer in answers}) == number
        assert p99 <= count(1000, 150) / 1000
        left = "SELECT count(*) AS number FROM generations WHERE state = 'reserved'"
        wait_until(lambda: both.gateway.rows(left) == [{"number": 0}], "all to settle")
        assert both.settled() == both.simulator.bill_total()


def test_killed_twice_each_ends_and_none_is_sent_twice(tmp_path: Path, count: Callable[[int, int], int]) -> None:
    """A gateway that is killed twice under asynchronous work settles what upstream answered and gives up the rest."""
    number = count(60, 201)
    with pair(tmp_path, "--delay", "1") as both:
        ids: list[str] = []
        for part in range(3):
            asked = [
                Asking(both.key, {"prompt": f"part {part} number {one} [delay={1 + one % 5 / 2}]"}, ASYNC)
                for one in range(number // 3)
            ]
            ids += [answer.envelope["id"] for _, answer in asyncio.run(accepted(both, asked))]
            if part < 2:
                wait_until(lambda: bool(both.gateway.rows(_SETTLED)), "some to settle")
                both.gateway.kill()
                both.gateway.begin()
        wait_until(lambda: both.gateway.rows(_RESERVED) == [], "each to end")
        assert_each_ended(ids, both.gateway.rows("SELECT id, state FROM generations"), both, kills=2)
        assert both.settled() <= both.simulator.bill_total()


@pytest.mark.full
def test_workers_killed_twice_leave_none_behind(tmp_path: Path, postgres_url: str, redis: Server) -> None:
    """The same with two workers, of whom one is killed, twice: the others give up what it leaves."""
    with fleet(tmp_path, postgres_url, "--delay", "1", redis_url=redis.url, workers="2") as both:
        ids: list[str] = []
        for part in range(4):
            asked = [
                Asking(both.key, {"prompt": f"part {part} number {one} [delay={1 + one % 5 / 2}]"}, ASYNC)
                for one in range(50)
            ]
            ids += [answer.envelope["id"] for _, answer in asyncio.run(accepted(both, asked))]
            if part in (1, 2):
                victim = workers_of(both.gateway)[0]
                os.kill(victim, SIGKILL)
                wait_until(partial(_replaced, both, victim), "another worker")
        wait_until(lambda: both.rows(_RESERVED) == [], "each to end", seconds=60)
        assert_each_ended(ids, both.rows("SELECT id, state FROM generations"), both, kills=2)


def _replaced(both: Fleet, victim: int) -> bool:
    workers = workers_of(both.gateway)
    return len(workers) == 2 and victim not in workers


def assert_each_ended(ids: list[str], rows: list[dict[str, str]], both: Pair | Fleet, *, kills: int) -> None:
    """Show that every generation that was accepted is settled or unknown, and that upstream saw none of them twice."""
    states = {row["id"]: row["state"] for row in rows}
    sent = Counter(line.prompt_sha256 for line in both.simulator.bill())
    counted = Counter(states[one] for one in ids)
    print(f"{len(ids)} asynchronous generations, {kills} kills: {dict(counted)}, most often sent: {max(sent.values())}")
    assert counted.keys() <= {"settled", "unknown"}
    assert len(states) == len(ids)
    assert counted["unknown"] > 0, "nothing ran when it was killed"
    assert max(sent.values()) == 1
    assert both.simulator.stats()["calls"] <= len(ids)


_SETTLED = "SELECT id FROM generations WHERE state = 'settled'"
_RESERVED = "SELECT id FROM generations WHERE state = 'reserved'"


def test_events_are_told_by_every_worker(two_workers: Fleet) -> None:
    """Whichever of two workers reads, a stream begins with the reservation and ends with the settlement."""
    readers, headers = 8, {"Authorization": f"Bearer {two_workers.key}"}
    answer = two_workers.gateway.post(two_workers.key, ASYNC, prompt="told everywhere [delay=2]")

    def read(_: int) -> list[str]:
        with httpx.Client(base_url=two_workers.gateway.url, trust_env=False, timeout=30) as client:
            text = client.get(f"{answer.headers['location']}/events", headers=headers).text
        return [line.removeprefix("event: ") for line in text.splitlines() if line.startswith("event: ")]

    with ThreadPoolExecutor(readers) as pool:
        told = list(pool.map(read, range(readers)))
    print(f"{readers} readers over two workers: {dict(Counter(map(' '.join, told)))}")
    assert {(one[0], one[-1]) for one in told} == {("reserved", "settled")}
