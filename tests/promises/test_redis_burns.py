"""Redis may burn: while it is gone, slow or emptied, nobody is refused or kept waiting for it, and no yuan is lost."""

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count as numbers

import pytest

from tests.servers.process import wait_until
from tests.servers.redis import Server
from tests.servers.workers import Answer, Caller, Team, callers, standing, team, until

pytestmark = pytest.mark.alone

PATIENCE = 0.6
"""Seconds that a request waits for Redis at the most, all trips together."""

LOADED = 0.3
"""Seconds that any request may take on a machine that has other things to do."""

BACK_SECONDS = 5.0
RATE, BURST = 20, 20
"""A second, and at once."""
FITTING = 25


@dataclass(slots=True)
class Load:
    """Three tenants who ask without end: one far from its limits, one at its rate, one poor."""

    workers: Team
    name: str
    answers: dict[str, list[Answer]] = field(default_factory=lambda: {"free": [], "steady": [], "poor": []})
    going_on: bool = True
    number: Iterator[int] = field(default_factory=numbers)

    def keys(self) -> dict[str, str]:
        """Make the tenants. The free one asks Redis for everything that it is ever asked for: limits, cache, leads."""
        tenant = self.workers.gateway.tenant
        return {
            "free": tenant(f"free-{self.name}", requests_per_minute=60_000, concurrency=1000, cache="all"),
            "steady": tenant(f"steady-{self.name}", requests_per_minute=RATE * 60, burst=BURST),
            "poor": tenant(f"poor-{self.name}", budget_day="1.00", budget_total="1.00", requests_per_minute=60_000),
        }

    async def ask_on(self, caller: Caller, tenant: str, key: str, every: float) -> None:
        """Ask, each time for another picture, until the end."""
        while self.going_on:
            began = time.monotonic()
            self.answers[tenant].append(await caller.ask(key, f"{self.name} {next(self.number)}", seed=1))
            await until(began + every)

    def fallbacks(self) -> float:
        """Return how often a part did without Redis."""
        return self.workers.gateway.metric("gateway_redis_fallbacks_total")

    async def settled(self, back: float) -> float:
        """Wait until no part has done without Redis for a second; return how long after `back` the last one did."""
        last, known = back, await asyncio.to_thread(self.fallbacks)
        while time.monotonic() < last + 1:
            await until(time.monotonic() + 0.1)
            if (now := await asyncio.to_thread(self.fallbacks)) != known:
                last, known = time.monotonic(), now
            assert last < back + BACK_SECONDS, f"Redis was not used again within {BACK_SECONDS} s"
        return last - back

    async def press(self, keys: dict[str, str], outage: Callable[[], None]) -> tuple[float, float]:
        """Ask through an outage that begins after a second; return when it began and how long coming back took."""
        async with callers(self.workers.gateway, 10) as crowd, asyncio.TaskGroup() as asking:
            for place, (tenant, every) in enumerate(
                [("free", 0.02)] * 4 + [("steady", 0.02)] * 4 + [("poor", 0.15)] * 2
            ):
                asking.create_task(self.ask_on(crowd[place], tenant, keys[tenant], every))
            await until(time.monotonic() + 1)
            began = time.monotonic()
            await asyncio.to_thread(outage)
            back = await self.settled(time.monotonic())
            self.going_on = False
        return began, back


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    """Share two workers and their Redis, which every test leaves in order."""
    with team(tmp_path_factory.mktemp("redis")) as both:
        yield both


def wait(seconds: float) -> None:
    """Let time pass."""
    end = time.monotonic() + seconds
    wait_until(lambda: time.monotonic() >= end, "the time to pass", seconds + 1)


def killed(redis: Server, seconds: float) -> None:
    """Kill Redis; start it again, empty, after a while."""
    redis.kill()
    wait(seconds)
    redis.start()


def slow(redis: Server, times: int) -> None:
    """Let Redis answer everything five seconds late, and so often."""
    for _ in range(times):
        with redis.stopped():
            wait(5)


def emptied(redis: Server, times: int) -> None:
    """Empty Redis, once every two seconds."""
    with redis.client() as client:
        for _ in range(times):
            client.flushall()
            wait(2)


def assert_promises(load: Load, began: float, calls: int, forgotten: int) -> None:
    """Show that nobody was refused or kept waiting for Redis, the rate held by and large, and the budget exactly.

    Each time that Redis is emptied, `forgotten` times, the processes remember a level up to a second's worth lower.
    """
    free, steady, poor = load.answers["free"], load.answers["steady"], load.answers["poor"]
    everybody = free + steady + poor
    calm = max(answer.seconds for answer in everybody if answer.came < began)
    slowest = max(answer.seconds for answer in everybody if answer.came >= began)
    admitted = sum(answer.status == 200 for answer in steady)
    took = max(answer.came for answer in steady) - min(answer.sent for answer in steady)
    promised = BURST + RATE * took
    spent = standing(load.workers.gateway, f"poor-{load.name}")["total"]
    print(
        f"{load.name}: {len(everybody)} asked, the slowest {slowest:.2f} s ({calm:.2f} s before), "
        f"{admitted / promised:.2f} of the rate, poor spent {spent[0] / 1e6:.6f}"
    )
    assert {answer.status for answer in free} == {200}, {answer.body for answer in free if answer.status != 200}
    assert slowest <= PATIENCE + max(calm, LOADED)
    assert {answer.status for answer in steady} <= {200, 429}
    assert admitted <= (promised + RATE * forgotten + 1 if forgotten else 1.25 * promised)
    assert {answer.status for answer in poor} == {200, 402}
    assert sum(answer.status == 200 for answer in poor) == FITTING
    assert spent == (1_000_000, 0)
    assert load.workers.simulator.stats()["calls"] - calls == sum(answer.status == 200 for answer in everybody)


@pytest.mark.parametrize("how", ["killed", "slow", "emptied"])
def test_nobody_suffers_for_redis(workers: Team, count: Callable[[int, int], int], how: str) -> None:
    """Killed and back, answering five seconds late, or emptied: what is promised holds, and Redis is used again."""
    redis, forgotten = workers.redis, count(1, 10) if how == "emptied" else 0
    outages: dict[str, Callable[[], None]] = {
        "killed": lambda: killed(redis, count(3, 20)),
        "slow": lambda: slow(redis, count(1, 4)),
        "emptied": lambda: emptied(redis, forgotten),
    }
    load, calls = Load(workers, how), workers.simulator.stats()["calls"]
    before = load.fallbacks()
    began, back = asyncio.run(load.press(load.keys(), outages[how]))
    print(f"{how}: {load.fallbacks() - before:.0f} times without Redis, the last {back:.1f} s after it was back")
    assert_promises(load, began, calls, forgotten)
    assert (load.fallbacks() > before) == (how != "emptied")


def test_places_given_back_during_an_outage_are_free_after_it(workers: Team) -> None:
    """What ended while Redis was frozen, holding every place there, keeps nobody out five seconds after it is back."""
    places = 4
    key = workers.gateway.tenant("placed", concurrency=places)

    async def play() -> float:
        async with callers(workers.gateway, places) as crowd:
            running = [asyncio.create_task(caller.ask(key, "[delay=1]")) for caller in crowd]
            await asyncio.to_thread(
                wait_until, lambda: workers.simulator.stats()["open"] == places, "the places to be taken"
            )
            with workers.redis.stopped():
                assert {answer.status for answer in await asyncio.gather(*running)} == {200}
            back = time.monotonic()
            while True:
                answers = await asyncio.gather(*(caller.ask(key, "[delay=0.3]") for caller in crowd))
                if {answer.status for answer in answers} == {200}:
                    return answers[0].sent - back
                assert time.monotonic() < back + BACK_SECONDS + 10
                await until(time.monotonic() + 0.1)

    took = asyncio.run(play())
    print(f"{places} places given back during an outage: free {took:.1f} s after it")
    assert took <= BACK_SECONDS
