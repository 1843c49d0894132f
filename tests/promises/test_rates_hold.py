"""Rates and concurrency are what a tenant was given, over all workers: not more, and not less."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import pytest

from tests.servers.process import wait_until
from tests.servers.workers import Answer, Caller, Team, callers, change, team, until

pytestmark = pytest.mark.alone

EFFECT_SECONDS = 5.0
"""Within which a change is in effect everywhere."""


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    """Share two workers among the tests of this file, each with tenants of its own."""
    with team(tmp_path_factory.mktemp("rates"), storage_url="none") as both:
        yield both


def test_a_rate_admits_its_burst_and_then_its_rate(workers: Team, count: Callable[[int, int], int]) -> None:
    """Whoever asks without pause over both workers is let in between 0.98 (b + rT) and b + rT + 1 times."""
    rate, burst, seconds = 20, 30, count(4, 60)
    key = workers.gateway.tenant("steady", requests_per_minute=rate * 60, burst=burst)

    async def ask_on(caller: Caller, end: float) -> list[Answer]:
        answers = []
        while time.monotonic() < end:
            answers.append(await caller.ask(key))
        return answers

    async def press() -> list[Answer]:
        async with callers(workers.gateway, 6) as crowd:
            end = time.monotonic() + seconds
            found = await asyncio.gather(*(ask_on(caller, end) for caller in crowd))
        return [answer for answers in found for answer in answers]

    answers = asyncio.run(press())
    assert {answer.status for answer in answers} == {200, 429}
    admitted = sum(answer.status == 200 for answer in answers)
    first, last = min(one.sent for one in answers), max(one.sent for one in answers)
    least = 0.98 * (burst + rate * (last - first))
    most = burst + rate * (max(one.came for one in answers) - first) + 1
    print(f"{len(answers)} asked in {last - first:.1f} s, {admitted} admitted: promised {least:.1f} to {most:.1f}")
    assert least <= admitted <= most


def test_whoever_waits_as_told_gets_in(workers: Team, count: Callable[[int, int], int]) -> None:
    """A 429 names its limit and says when to come back; a client that waits exactly so long is let in."""
    number = count(6, 40)
    paces = [(60, 1), (40, 1), (30, 1), (60, 2)]
    keys = [
        workers.gateway.tenant(f"patient-{place}", requests_per_minute=per_minute, burst=burst)
        for place, (per_minute, burst) in enumerate([*paces, *paces] * (number // 8 + 1))
    ][:number]

    async def play(caller: Caller, key: str) -> tuple[int, int]:
        while (refused := await caller.ask(key)).status == 200:
            pass
        assert (refused.status, refused.text) == (429, "Rate limit exceeded: requests")
        wait = int(refused.headers["Retry-After"])
        await until(refused.came + wait)
        return wait, (await caller.ask(key)).status

    async def press() -> Sequence[tuple[int, int]]:
        async with callers(workers.gateway, number) as crowd:
            return await asyncio.gather(*(play(caller, key) for caller, key in zip(crowd, keys, strict=True)))

    found = asyncio.run(press())
    print(f"{number} waited {Counter(wait for wait, _ in found)} s: {Counter(status for _, status in found)}")
    assert {status for _, status in found} == {200}


def test_so_many_run_at_once_and_not_one_more(workers: Team) -> None:
    """Of 20 asked at once over both workers, 8 places let 8 run; the others get 429 at once, and no bill."""
    key = workers.gateway.tenant("crowded", concurrency=8)
    before = workers.simulator.stats()["calls"]

    async def press() -> list[Answer]:
        async with callers(workers.gateway, 20) as crowd:
            answers = await asyncio.gather(*(caller.ask(key, "[delay=1]") for caller in crowd))
            again = await asyncio.gather(*(caller.ask(key) for caller in crowd[:8]))
        assert {answer.status for answer in again} == {200}, "the places are free again"
        return answers

    answers = asyncio.run(press())
    statuses = Counter(answer.status for answer in answers)
    print(f"20 at once for 8 places: {dict(statuses)}")
    assert statuses == {200: 8, 429: 12}
    refused = [answer for answer in answers if answer.status == 429]
    assert {(one.text, one.headers["Retry-After"]) for one in refused} == {("Rate limit exceeded: concurrency", "1")}
    assert max(answer.seconds for answer in refused) < 1, "nothing queues"
    assert workers.simulator.stats()["calls"] - before == 8 + 8


def test_a_shadow_limit_counts_and_refuses_nobody(workers: Team) -> None:
    """With --shadow everybody gets in, without headers of limits not in force; the metric tells who would not have."""
    key = workers.gateway.tenant("shadowed", requests_per_minute=1, images_per_minute=1, concurrency=1, shadow=True)

    async def press() -> list[Answer]:
        async with callers(workers.gateway, 4) as crowd:
            return await asyncio.gather(*(caller.ask(key, "[delay=0.3]") for caller in crowd))

    answers = asyncio.run(press())
    assert [answer.status for answer in answers] == [200] * 4
    assert not any("RateLimit" in answer.headers for answer in answers)
    for limit in ("requests", "images", "concurrency"):
        counted = workers.gateway.metric("gateway_rate_limited_total", tenant="shadowed", limit=limit)
        print(f"shadow: {counted:.0f} of 4 beyond {limit}")
        assert counted == 3


def test_budgets_refuse_in_shadow_too(workers: Team) -> None:
    """--shadow is for rates and concurrency: money is refused all the same."""
    key = workers.gateway.tenant("shadowed-poor", requests_per_minute=1, budget_total="0.04", shadow=True)
    assert [workers.gateway.post(key, aspect_ratio="1:1").status_code for _ in range(3)] == [200, 402, 402]


@pytest.mark.full
def test_changes_are_in_effect_everywhere_within_seconds(workers: Team) -> None:
    """A changed policy, and disabling, are heeded within five seconds by both workers, to whom the key was known."""
    key = workers.gateway.tenant("changed")

    async def play() -> None:
        async with callers(workers.gateway, 4) as crowd:

            async def everybody(status: int, *, asks: bool) -> float:
                began = time.monotonic()
                while True:
                    answers = await asyncio.gather(*((one.ask(key) if asks else one.look(key)) for one in crowd))
                    if {answer.status for answer in answers} == {status}:
                        return time.monotonic() - began
                    assert time.monotonic() < began + EFFECT_SECONDS, [answer.status for answer in answers]
                    await until(time.monotonic() + 0.05)

            await everybody(200, asks=True)
            await asyncio.to_thread(change, workers.gateway, "changed", budget_total="0.01")
            limited = await everybody(402, asks=True)
            await asyncio.to_thread(change, workers.gateway, "changed", disabled=True)
            disabled = await everybody(401, asks=False)
            await asyncio.to_thread(change, workers.gateway, "changed", disabled=False)
            await everybody(200, asks=False)
            print(f"in effect on both workers after {limited:.1f} s (budget), {disabled:.1f} s (disabled)")

    asyncio.run(play())


def test_counts_of_both_workers_are_one_metric(workers: Team) -> None:
    """What is refused by either worker is in the one figure of the metrics port."""
    key = workers.gateway.tenant("counted", requests_per_minute=1, burst=1)

    async def press() -> list[int]:
        async with callers(workers.gateway, 6) as crowd:
            return [answer.status for answer in await asyncio.gather(*(caller.ask(key) for caller in crowd))]

    assert Counter(asyncio.run(press())) == {200: 1, 429: 5}
    wait_until(
        lambda: workers.gateway.metric("gateway_requests_total", tenant="counted", outcome="rate_limited") == 5,
        "the refusals of both workers to be counted",
        EFFECT_SECONDS,
    )
