"""How far generations have come, for those who watch: in this process at once, in others as the ledger shows them.

What runs elsewhere is looked up every half second, for all who watch in one query; its stages between the reservation
and the end are not seen here.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Literal, TypeAlias

import structlog

from gateway.errors import LedgerUnavailable
from gateway.ledger.ledger import Ledger
from gateway.ledger.records import State

POLL_SECONDS = 0.5

Stage: TypeAlias = Literal["generating", "keeping"] | State
"""A state of the ledger, or how far a reserved generation has come."""


class Watcher:
    """What one watcher has not been told yet, oldest first."""

    def __init__(self) -> None:
        self._news: asyncio.Queue[Stage] = asyncio.Queue()
        self.last: Stage = "reserved"

    def tell(self, stage: Stage) -> None:
        """Add a stage, unless it is the one that was told last."""
        if stage != self.last:
            self.last = stage
            self._news.put_nowait(stage)

    async def next(self, seconds: float) -> Stage | None:
        """Return the next stage; None if there is none for so long."""
        try:
            async with asyncio.timeout(seconds):
                return await self._news.get()
        except TimeoutError:
            return None


class Stages:
    """The stages of what runs in this process, and all who watch anything from here."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._running: dict[str, Stage] = {}
        self._watchers: dict[str, set[Watcher]] = {}
        self._look = asyncio.Event()

    def enter(self, generation_id: str, stage: Stage) -> None:
        """Say that a generation of this process has come so far."""
        self._running[generation_id] = stage
        for watcher in self._watchers.get(generation_id, ()):
            watcher.tell(stage)

    def leave(self, generation_id: str) -> None:
        """Say that a generation of this process has ended; the ledger knows how."""
        del self._running[generation_id]
        if generation_id in self._watchers:
            self._look.set()

    def here(self, generation_id: str) -> bool:
        """Whether the generation runs in this process."""
        return generation_id in self._running

    @contextmanager
    def watch(self, generation_id: str) -> Iterator[Watcher]:
        """Watch a generation that was reserved a moment ago, from where it is now."""
        watcher = Watcher()
        self._watchers.setdefault(generation_id, set()).add(watcher)
        watcher.tell(self._running.get(generation_id, "reserved"))
        self._look.set()
        try:
            yield watcher
        finally:
            watching = self._watchers[generation_id]
            watching.discard(watcher)
            if not watching:
                del self._watchers[generation_id]

    async def run(self) -> None:
        """Look up what is watched until cancelled; without watchers nothing is asked. An outage is waited out."""
        while True:
            if not self._watchers:
                self._look.clear()
                await self._look.wait()
            self._look.clear()
            try:
                states = await self._ledger.states(list(self._watchers))
            except LedgerUnavailable as error:
                structlog.get_logger("flow").warning("watched generations not read", reason=error.detail)
                states = {}
            for generation_id, state in states.items():
                if state != "reserved":
                    for watcher in self._watchers.get(generation_id, ()):
                        watcher.tell(state)
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL_SECONDS):
                    await self._look.wait()
