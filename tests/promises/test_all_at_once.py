"""Workers are killed, Redis and PostgreSQL go and come, callers leave, all in one: the books are right afterwards."""

import asyncio
import hashlib
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from itertools import count
from pathlib import Path
from random import Random
from signal import SIGKILL

import pytest

from tests.crowd import Answer, Asking, line
from tests.servers.fleet import Fleet, fleet
from tests.servers.postgres import Postgres, postgres
from tests.servers.process import wait_until
from tests.servers.redis import Server, redis_server
from tests.servers.workers import workers_of

CALLERS, FAULTS = 24, 16

Fault = Callable[[float], None]
"""Breaks something for so many seconds."""


def faults_of(serving: Fleet, server: Postgres, redis: Server, chance: Random) -> Mapping[str, Fault]:
    """Return what may go wrong."""
    wait = threading.Event().wait  # an outage has its length

    def kill_a_worker(seconds: float) -> None:
        if workers := workers_of(serving.gateway):
            os.kill(chance.choice(workers), SIGKILL)
        wait(seconds)

    def lose_redis(seconds: float) -> None:
        redis.kill()
        wait(seconds)
        redis.start()

    def freeze_redis(seconds: float) -> None:
        with redis.stopped():
            wait(seconds)

    def lose_sql(seconds: float) -> None:
        server.kill()
        wait(seconds)
        server.start()

    def freeze_sql(seconds: float) -> None:
        server.freeze()
        wait(seconds)
        server.thaw()

    return {
        "worker killed": kill_a_worker,
        "Redis lost": lose_redis,
        "Redis frozen": freeze_redis,
        "PostgreSQL lost": lose_sql,
        "PostgreSQL frozen": freeze_sql,
    }


def keyed(key: str, number: int) -> Asking:
    """Ask with an idempotency key for a picture of its own, which the cache covers or not."""
    members = {"prompt": f"picture {number} [delay=0.3]"} | ({"seed": number} if number % 2 else {})
    return Asking(key, members, {"Idempotency-Key": f"key-{number}"})


async def keep_asking(serving: Fleet, chance: Random, numbers: Iterator[int], ended: asyncio.Event) -> list[Answer]:
    """Ask for new pictures, and at times again for one of late, until it is enough; leave some before they come."""
    answers: list[Answer] = []
    latest = 0
    while not ended.is_set():
        if chance.random() < 0.4:
            number = max(0, latest - int(chance.expovariate(1 / CALLERS)))
        else:
            number = latest = next(numbers)
        asking = keyed(serving.key, number)
        patience = chance.uniform(0.01, 0.6) if chance.random() < 0.25 else 60.0
        with suppress(OSError, asyncio.IncompleteReadError, TimeoutError):
            async with asyncio.timeout(patience), line(serving.gateway.port) as one:
                answers.append(await one.ask(asking))
                if answers[-1].status != 200:
                    await asyncio.sleep(chance.uniform(0.05, 0.3))
    return answers


async def ask_through_faults(
    serving: Fleet, faults: Mapping[str, Fault], chance: Random, numbers: Iterator[int]
) -> tuple[list[Answer], str]:
    """Ask all the time while one thing after the other goes wrong; return the answers, and what went wrong."""
    ended, happened = asyncio.Event(), Counter[str]()
    callers = [
        asyncio.create_task(keep_asking(serving, Random(caller), numbers, ended))  # noqa: S311 -- a test's choice
        for caller in range(CALLERS)
    ]
    for _ in range(FAULTS):
        name = chance.choice(sorted(faults))
        happened[name] += 1
        await asyncio.to_thread(faults[name], chance.uniform(0.3, 3))
        await asyncio.sleep(chance.uniform(0.2, 1.5))
    ended.set()
    return [answer for answers in await asyncio.gather(*callers) for answer in answers], str(dict(happened))


async def once_more(serving: Fleet, keys: int) -> Counter[int]:
    """Ask once for each key that was paid for; return the statuses."""
    paid, statuses = {one.prompt_sha256 for one in serving.simulator.bill()}, Counter[int]()
    async with line(serving.gateway.port) as one:
        for number in range(keys):
            asking = keyed(serving.key, number)
            if hashlib.sha256(str(asking.members["prompt"]).encode()).hexdigest() in paid:
                statuses[(await one.ask(asking)).status] += 1
    return statuses


@pytest.mark.full
@pytest.mark.timeout(240)
def test_whatever_fails_no_key_is_paid_for_twice_and_no_yuan_is_lost(tmp_path: Path) -> None:
    """Each idempotency key is billed once at most, what was answered is kept, and the ledger misses no bill."""
    chance, numbers = Random(11), count()  # noqa: S311 -- a test's choice
    with (
        postgres() as server,
        redis_server() as redis,
        fleet(tmp_path, server.url(server.create_database()), redis_url=redis.url, workers="2") as serving,
    ):
        faults = faults_of(serving, server, redis, chance)
        answers, happened = asyncio.run(ask_through_faults(serving, faults, chance, numbers))
        wait_until(lambda: "reserved" not in serving.books().states, "all to be settled or given up", 60)
        books, bill = serving.books(), serving.simulator.bill()
        settled, unknown = (books.states.get(state, 0) for state in ("settled", "unknown"))
        made = [answer for answer in answers if answer.status == 200]
        print(f"{happened}: {len(answers)} answers, {len(made)} of them 200; {len(bill)} billed, {unknown} unknown")
        assert max(Counter(one.prompt_sha256 for one in bill).values()) == 1, "a key was paid for twice"
        assert settled <= len(bill) <= settled + unknown
        assert books.cost == books.spent
        (held,) = serving.rows("SELECT coalesce(sum(quote), 0) AS held FROM generations WHERE state = 'unknown'")
        assert books.held == held["held"]
        assert {serving.gateway.http.get(link).status_code for link in {answer.link for answer in made}} == {200}
        statuses = asyncio.run(once_more(serving, next(numbers)))
        assert set(statuses) <= {200, 504}, "what is unknown is said to be"
        assert serving.simulator.bill() == bill
        assert "Traceback" not in serving.gateway.log
