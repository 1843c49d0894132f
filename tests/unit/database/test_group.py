"""Group commit: what waits goes together, and nobody pays for a neighbour."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, cast

import pytest
from sqlalchemy import Connection

from gateway.database.engine import Database
from gateway.database.group import LARGEST_GROUP, GroupCommit
from gateway.errors import LedgerUnavailable


class Sink:
    """A database whose transactions end when the test says so; what is committed is a list."""

    dialect = "sqlite"

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.open.set()
        self.groups: list[list[int]] = []
        self.away = False

    async def read(self, work: Callable[[Connection], Any]) -> Any:
        raise NotImplementedError

    async def write(self, work: Callable[[Connection], Any]) -> Any:
        await self.open.wait()
        if self.away:
            raise LedgerUnavailable(detail="cut off", retry_after=5)
        return work(cast("Connection", self))

    async def close(self) -> None:
        """Nothing is open."""

    def apply(self, _connection: Connection, jobs: Sequence[int]) -> list[int]:
        if 13 in jobs:
            raise ValueError("thirteen")
        self.groups.append(list(jobs))
        return [job * 10 for job in jobs]


def group_of(sink: Sink) -> GroupCommit[int]:
    """Make a group commit that applies to a sink."""
    database: Database = sink
    return GroupCommit[int](database, sink.apply)


def test_what_gathers_during_a_commit_is_the_next_group() -> None:
    """The first job does not wait for company; those that come while it commits go together, each with its result."""

    async def story() -> None:
        sink = Sink()
        group = group_of(sink)
        sink.open.clear()
        first = asyncio.create_task(group.commit(0))
        await _until(lambda: group._task is not None and not group._waiting)
        rest = [asyncio.create_task(group.commit(number)) for number in range(1, 6)]
        await _until(lambda: len(group._waiting) == 5)
        sink.open.set()
        assert await asyncio.gather(first, *rest) == [0, 10, 20, 30, 40, 50]
        assert sink.groups == [[0], [1, 2, 3, 4, 5]]

    asyncio.run(story())


def test_a_group_has_a_largest_size() -> None:
    """A flood is committed in several transactions, in the order it came."""

    async def story() -> None:
        sink = Sink()
        await asyncio.gather(*map(group_of(sink).commit, range(1000, 1000 + 2 * LARGEST_GROUP + 1)))
        assert [len(one) for one in sink.groups] == [LARGEST_GROUP, LARGEST_GROUP, 1]

    asyncio.run(story())


def test_a_poisoned_job_fails_alone() -> None:
    """The job that raises gets its own error; its neighbours are committed one by one."""

    async def story() -> None:
        sink = Sink()
        said = await asyncio.gather(*map(group_of(sink).commit, (12, 13, 14)), return_exceptions=True)
        assert [said[0], said[2]] == [120, 140]
        assert isinstance(said[1], ValueError)
        assert sink.groups == [[12], [14]]

    asyncio.run(story())


def test_an_outage_fails_everybody_and_is_not_tried_one_by_one() -> None:
    """With the database away all that wait are told so, each with an error of its own; afterwards it goes on."""

    async def story() -> None:
        sink = Sink()
        group = group_of(sink)
        sink.away = True
        said = await asyncio.gather(*map(group.commit, (1, 2)), return_exceptions=True)
        assert all(isinstance(one, LedgerUnavailable) and one.retry_after == 5 for one in said)
        assert said[0] is not said[1]
        sink.away = False
        assert await group.commit(3) == 30

    asyncio.run(story())


def test_a_caller_who_leaves_takes_nothing_away() -> None:
    """A cancelled caller's job is committed with its group, also when it was the one that began the work."""

    async def story() -> None:
        sink = Sink()
        group = group_of(sink)
        sink.open.clear()
        tasks = [asyncio.create_task(group.commit(number)) for number in (1, 2)]
        await _until(lambda: group._task is not None and not group._waiting)
        for task in tasks:
            task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await tasks[0]
        sink.open.set()
        await group.drain()
        assert sorted(job for one in sink.groups for job in one) == [1, 2]

    asyncio.run(story())


async def _until(condition: Callable[[], bool]) -> None:
    for _ in range(100):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("it did not come to that")
