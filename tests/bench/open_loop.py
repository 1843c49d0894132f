"""Load in an open loop: so many calls a second, whether or not the earlier ones have been answered.

A call's latency counts from the moment it was due, not from when the generator came to send it: if sender, gateway or
upstream falls behind, it shows in every call that had to wait (https://www.scylladb.com/2021/04/22/on-coordinated-omission/).
"""

import asyncio
import gc
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import aiohttp
import orjson

from tests.bench.closed_loop import BODY

PATIENCE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Plan:
    """`rate` calls a second, of `each` seconds, so that `rate × each` are open once the first has been answered.

    What is measured begins then and lasts `steady` seconds.
    """

    rate: int
    each: float
    steady: float

    @property
    def calls(self) -> int:
        """How many calls there are, before and during the steady state."""
        return round(self.rate * (self.each + self.steady))

    @property
    def open(self) -> int:
        """How many calls are open in the steady state."""
        return round(self.rate * self.each)


@dataclass(slots=True)
class Flood:
    """What the callers saw: seconds from due to answered beyond the plan's, and what failed, by kind."""

    plan: Plan
    added: list[float] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)
    open: int = 0
    open_most: int = 0
    sent_late: float = 0.0
    """The longest time that the generator itself was behind, in seconds."""

    async def run(self, url: str, key: str) -> None:
        """Make every call and wait for every answer."""
        # A collection looks at every open call and takes up to 0.1 s, which would be taken for the gateway's.
        gc.collect()
        gc.disable()
        try:
            await self._run(url, key)
        finally:
            gc.enable()

    async def _run(self, url: str, key: str) -> None:
        begun = time.monotonic()  # uvloop's own clock has steps of a millisecond
        async with (
            aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0),
                timeout=aiohttp.ClientTimeout(total=self.plan.each + PATIENCE_SECONDS),
                headers={"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
                trust_env=False,
            ) as session,
            asyncio.TaskGroup() as calls,
        ):
            for number in range(self.plan.calls):
                due = begun + number / self.plan.rate
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                self.sent_late = max(self.sent_late, time.monotonic() - due)
                steady = number >= self.plan.open
                calls.create_task(self._call(session, f"{url}/images/generate", due, steady=steady))

    async def _call(self, session: aiohttp.ClientSession, url: str, due: float, *, steady: bool) -> None:
        self.open += 1
        self.open_most = max(self.open_most, self.open)
        try:
            async with session.post(url, data=BODY) as answer:
                body = await answer.read()
            if answer.status != 200 or orjson.loads(body)["code"] != 0:
                self.errors[str(answer.status)] += 1
            elif steady:
                self.added.append(time.monotonic() - due - self.plan.each)
        except (aiohttp.ClientError, OSError) as error:  # OSError includes TimeoutError
            self.errors[type(error).__name__] += 1
        finally:
            self.open -= 1


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the value that so many percent do not exceed (nearest rank); infinite if there are none."""
    if not values:
        return float("inf")
    rank = -(-len(values) * percent // 100)
    return sorted(values)[max(0, int(rank) - 1)]
