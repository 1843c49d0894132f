"""Cache and single flight together: whenever equal asks arrive, in whichever process, one of them is generated."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack

import pytest

from gateway.redis_link import RedisLink, parse_address
from gateway.replies import (
    Entry,
    Flights,
    Followed,
    Lead,
    LocalFlights,
    LocalReplies,
    Replies,
    SharedFlights,
    SharedReplies,
)
from tests.contract.limits_backends import fresh_id, new_metrics, patience
from tests.contract.replies_backends import BACKENDS, backend_url

ASKS = 40


@pytest.fixture(scope="module", params=BACKENDS)
def url(request: pytest.FixtureRequest) -> Iterator[str | None]:
    """Run each backend once for the module; None is in-process."""
    yield from backend_url(request.param)


class Worker:
    """One process that generates as the gateway does: look, lead or follow, keep and finish."""

    def __init__(self, replies: Replies, flights: Flights, paid: Counter[str], chance: random.Random) -> None:
        self.replies = replies
        self.flights = flights
        self.paid = paid
        self.chance = chance

    async def answer(self, team: str, fingerprint: str, turns: int) -> str:
        """Answer one ask that arrives after so many turns of the event loop."""
        for _ in range(turns):
            await asyncio.sleep(0)
        since, own = time.monotonic(), patience()
        found = await self.replies.look(team, fingerprint, own)
        if found is not None:
            return "hit"
        turn = await self.flights.lead_or_follow(team, (fingerprint, fresh_id()), own, since=since, deadline=since + 30)
        if isinstance(turn, Followed):
            return "collapsed"
        assert isinstance(turn, Lead)
        outcome = None
        try:
            self.paid[fingerprint] += 1
            for _ in range(self.chance.randrange(20)):
                await asyncio.sleep(0)
            outcome = "the reply"
        finally:
            entry = Entry("the reply", "gen", 0, 40_000)
            await asyncio.gather(
                self.replies.keep(team, fingerprint, entry, 60, own), self.flights.finish(turn, outcome, own)
            )
        return "generated"


async def _workers(stack: AsyncExitStack, url: str | None, paid: Counter[str], chance: random.Random) -> list[Worker]:
    """Open two processes; in-process they are one."""
    if url is None:
        return [Worker(LocalReplies(), LocalFlights(), paid, chance)]
    workers = []
    for _ in range(2):
        metrics = new_metrics()
        link = await stack.enter_async_context(RedisLink(parse_address(url), metrics))
        flights = await stack.enter_async_context(SharedFlights(link, metrics))
        workers.append(Worker(SharedReplies(link, metrics), flights, paid, chance))
    return workers


def test_equal_asks_are_paid_for_once(url: str | None, count: Callable[[int, int], int]) -> None:
    """Of forty equal asks, spread over the life of a flight and its end, one is generated and no other is paid for."""
    chance = random.Random(11)  # noqa: S311 -- a repeatable story
    paid: Counter[str] = Counter()
    rounds = count(40, 1000)

    async def play() -> Counter[str]:
        answers: Counter[str] = Counter()
        async with AsyncExitStack() as stack:
            workers = await _workers(stack, url, paid, chance)
            team = fresh_id()
            for number in range(rounds):
                spread = chance.choice((1, 30, 200))
                answers.update(
                    await asyncio.gather(
                        *(
                            chance.choice(workers).answer(team, f"{number:064x}", chance.randrange(spread))
                            for _ in range(ASKS)
                        )
                    )
                )
        return answers

    answers = asyncio.run(play())
    print(f"{rounds} × {ASKS} equal asks: {dict(answers)}")
    assert set(paid.values()) == {1}, paid.most_common(3)
    assert answers["generated"] == rounds
    assert answers.total() == rounds * ASKS
