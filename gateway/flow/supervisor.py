"""Work that outlives its request: from before the reservation to the settlement a task of the gateway's own.

The caller may leave; the generation goes on, its images are kept and its bill is settled. Draining refuses new work and
waits for what runs; what does not end in time is cancelled, and settles as unknown on its way out.
"""

import asyncio
import random
from collections.abc import Coroutine
from typing import Any, TypeVar

import structlog

from gateway.errors import GatewayError, Unavailable, UpstreamLost
from gateway.metrics import Metrics

Result = TypeVar("Result")

CAPACITY = 3000
"""Generations of one process at once; measured to hold with the slow-upstream run of `make bench`."""

LONGEST_RETRY = 3
"""Those who found no room are told to come back after 1 to so many seconds, by chance: not all at the same moment."""


class Supervisor:
    """Owns the tasks; asyncio itself keeps only weak references to them."""

    def __init__(self, metrics: Metrics, capacity: int = CAPACITY) -> None:
        self._metrics = metrics
        self._capacity = capacity
        self._tasks: set[asyncio.Task[Any]] = set()
        self.draining = False

    @property
    def running(self) -> int:
        """How many generations run."""
        return len(self._tasks)

    def admit(self) -> None:
        """Return if one more generation may begin. Raises Unavailable."""
        if self.draining:
            raise Unavailable("The gateway is shutting down", retry_after=5)
        if len(self._tasks) >= self._capacity:
            seconds = random.randint(1, LONGEST_RETRY)  # noqa: S311 -- spreads callers, guards nothing
            raise Unavailable("Too many generations are running", retry_after=seconds)

    def start(self, work: Coroutine[Any, Any, Result]) -> "asyncio.Task[Result]":
        """Own the work, which is done to its end whether or not anybody waits for its result."""
        task = asyncio.create_task(work, name="generation")
        self._tasks.add(task)
        self._metrics.in_flight.inc()
        task.add_done_callback(self._ended)
        return task

    async def result(self, task: "asyncio.Task[Result]") -> Result:
        """Return what the work came to. Cancelling the caller does not cancel the work.

        Raises UpstreamLost if draining did not wait for it.
        """
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.cancelled():
                raise UpstreamLost("The gateway was stopped; the outcome is unknown") from None
            raise

    async def drain(self, seconds: float) -> int:
        """Refuse new work, wait for what runs at most so long, cancel the rest; return how many were cancelled."""
        self.draining = True
        if not self._tasks:
            return 0
        _, late = await asyncio.wait(self._tasks, timeout=max(0.0, seconds))
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late)
        return len(late)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        self._metrics.in_flight.dec()
        if task.cancelled():
            return
        error = task.exception()
        if error is not None and not isinstance(error, GatewayError):  # its caller may have left: then nobody looks
            structlog.get_logger("flow").error("bug in a generation", exc_info=error)
