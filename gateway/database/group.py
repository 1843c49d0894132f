"""Group commit: everything that waits is committed in one transaction, so that a durable ledger is cheap.

While one group is being committed the next one gathers; a lone job does not wait. The group is a task of its own: a
caller who is cancelled leaves its job in the group, so what was asked for is committed, or fails, as a whole.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sqlalchemy import Connection

from gateway.database.engine import Database
from gateway.errors import LedgerUnavailable

Job = TypeVar("Job")

LARGEST_GROUP = 256


@dataclass(slots=True)
class _Waiting(Generic[Job]):
    job: Job
    done: "asyncio.Future[Any]"


class GroupCommit(Generic[Job]):
    """Commits jobs in groups. `apply` does the SQL of a whole group and returns one result for each job, in order."""

    def __init__(self, database: Database, apply: Callable[[Connection, Sequence[Job]], Sequence[Any]]) -> None:
        self._database = database
        self._apply = apply
        self._waiting: list[_Waiting[Job]] = []
        self._task: asyncio.Task[None] | None = None

    async def commit(self, job: Job) -> Any:
        """Return the job's result once it is durable. Raises LedgerUnavailable, or what the job itself raised."""
        done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(job, done))
        if self._task is None:
            self._task = asyncio.create_task(self._work(), name="group-commit")
        return await asyncio.shield(done)

    async def drain(self) -> None:
        """Wait until nothing waits."""
        while self._task is not None:
            await asyncio.shield(self._task)

    async def _work(self) -> None:
        try:
            while self._waiting:
                group, self._waiting = self._waiting[:LARGEST_GROUP], self._waiting[LARGEST_GROUP:]
                await self._commit(group)
        finally:
            self._task = None

    async def _commit(self, group: list[_Waiting[Job]]) -> None:
        jobs = [waiting.job for waiting in group]
        try:
            results = await self._database.write(lambda connection: self._apply(connection, jobs))
        except LedgerUnavailable as error:
            for waiting in group:
                own = LedgerUnavailable(detail=error.detail, retry_after=error.retry_after)
                own.perhaps_done = error.perhaps_done
                _fail(waiting, own)
        except Exception as error:  # noqa: BLE001 -- whatever one job raised, its caller gets it and nobody else
            if len(group) == 1:
                _fail(group[0], error)
            else:
                for waiting in group:
                    await self._commit([waiting])
        else:
            for waiting, result in zip(group, results, strict=True):
                waiting.done.set_result(result)


def _fail(waiting: _Waiting[Any], error: Exception) -> None:
    waiting.done.set_exception(error)
    waiting.done.exception()  # a caller who left does not read it; asyncio shall not complain
