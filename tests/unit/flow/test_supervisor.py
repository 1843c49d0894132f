"""Work outlives the request that asked for it, unless draining gives it up."""

import asyncio
from collections.abc import Callable, Coroutine

import pytest
from prometheus_client import CollectorRegistry

from gateway.errors import Unavailable, UpstreamLost
from gateway.flow.supervisor import Supervisor
from gateway.metrics import Metrics


def run(story: Callable[[Supervisor], Coroutine[None, None, None]], capacity: int = 2) -> None:
    """Tell a story about a supervisor."""
    asyncio.run(story(Supervisor(Metrics(CollectorRegistry()), capacity)))


def test_a_caller_who_leaves_does_not_stop_the_work() -> None:
    """Cancelling whoever waits leaves the work running, and draining waits for its end."""

    async def story(supervisor: Supervisor) -> None:
        released, done = asyncio.Event(), asyncio.Event()

        async def work() -> None:
            await released.wait()
            done.set()

        caller = asyncio.create_task(supervisor.result(supervisor.start(work())))
        await asyncio.sleep(0)
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        released.set()
        assert await supervisor.drain(5) == 0
        assert done.is_set()

    run(story)


def test_draining_refuses_new_work_and_gives_up_what_is_late() -> None:
    """What does not end in time is cancelled, its clean-up runs, and its caller is told that the outcome is unknown."""

    async def story(supervisor: Supervisor) -> None:
        cleaned = asyncio.Event()

        async def work() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                cleaned.set()

        caller = asyncio.create_task(supervisor.result(supervisor.start(work())))
        await asyncio.sleep(0)
        assert await supervisor.drain(0) == 1
        assert cleaned.is_set()
        with pytest.raises(UpstreamLost):
            await caller
        with pytest.raises(Unavailable):
            supervisor.admit()

    run(story)


def test_there_is_room_for_so_much_work_and_no_more() -> None:
    """At capacity no more is admitted; what ends, also by failing, makes room."""

    async def story(supervisor: Supervisor) -> None:
        released = asyncio.Event()

        async def work() -> None:
            await released.wait()
            raise ValueError("as it happens")

        callers = [asyncio.create_task(supervisor.result(supervisor.start(work()))) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(Unavailable) as refused:
            supervisor.admit()
        assert refused.value.retry_after is not None
        released.set()
        results = await asyncio.gather(*callers, return_exceptions=True)
        assert all(isinstance(result, ValueError) for result in results)
        supervisor.admit()

    run(story)
