"""Nothing is paid for twice: the death of a worker that leads costs one more call at most, and nobody their answer."""

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path

from tests.crowd import Answer, Asking, Line, line, lines
from tests.servers.fleet import Fleet, fleet
from tests.servers.process import wait_until
from tests.servers.redis import Server
from tests.servers.workers import workers_of

FOLLOWERS = 10
WORKERS = 3


async def kill_leaders(serving: Fleet, trials: list[str]) -> dict[str, list[Answer]]:
    """Let a worker lead each request, all others follow it, and kill the leaders; return the answers by the prompt.

    The last worker survives. Whoever asked the leader itself asks again, as a client does whose connection broke.
    """
    async with lines(serving.gateway, 1 + FOLLOWERS * len(trials)) as opened:
        *leaders, survivor = opened
        asked = {prompt: Asking(serving.key, {"prompt": prompt, "seed": 1}) for prompt in trials}
        led = dict(zip(leaders, asked.values(), strict=True))
        leading = [asyncio.create_task(opened[worker][0].ask(asking)) for worker, asking in led.items()]
        open_calls = len(trials)
        await asyncio.to_thread(
            wait_until, lambda: bool(serving.simulator.stats()["open"] == open_calls), "the leaders to be upstream"
        )
        seats = iter(opened[survivor])
        following = {
            prompt: [asyncio.create_task(next(seats).ask(asking)) for _ in range(FOLLOWERS)]
            for prompt, asking in asked.items()
        }
        await all_arrived(opened[survivor][-1])
        for worker in leaders:
            os.kill(worker, signal.SIGKILL)
        cut = await asyncio.gather(*leading, return_exceptions=True)
        assert all(isinstance(one, asyncio.IncompleteReadError | OSError) for one in cut), cut
        answers = {prompt: [await one for one in each] for prompt, each in following.items()}
        async with line(serving.gateway.port) as another:
            for prompt, asking in asked.items():
                answers[prompt].append(await another.ask(asking))
        return answers


async def all_arrived(last: Line) -> None:
    """Return when what was written to the same worker before has been read there."""
    await asyncio.sleep(0)
    assert (await last.get("/livez")).status == 200


def test_a_leader_who_is_killed_costs_one_more_call_at_most(
    tmp_path: Path, postgres_url: str, redis: Server, count: Callable[[int, int], int]
) -> None:
    """After kill -9 of the worker that leads, one of the followers leads, and every follower is answered."""
    most, answered = count(2, 30), 0
    calls: list[int] = []
    with fleet(tmp_path, postgres_url, redis_url=redis.url, workers=str(WORKERS)) as serving:
        for first in range(0, most, WORKERS - 1):
            wait_until(lambda: len(workers_of(serving.gateway)) == WORKERS, "the dead workers to be replaced")
            trials = [f"trial {first + index} [delay=1.5]" for index in range(WORKERS - 1)]
            for prompt, answers in asyncio.run(kill_leaders(serving, trials)).items():
                assert {answer.status for answer in answers} == {200}, [answer.body for answer in answers]
                assert len({answer.headers["x-generation-id"] for answer in answers}) == 1
                answered += len(answers)
                calls.append(sum(call["body"]["prompt"] == prompt for call in serving.simulator.calls()))
        print(f"{len(calls)} leaders killed: {max(calls)} calls at most, {answered} followers answered, 0 not")
        assert max(calls) <= 2
        assert serving.gateway.log.count("worker died") == len(calls)
        books = serving.books()
        assert books.states["settled"] == len(calls)
        # What a dead leader had sent upstream billed too: its hold stays until somebody decides.
        assert books.cost + books.held >= serving.billed()
