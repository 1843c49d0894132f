"""One request on its way through the flow: what it wishes, how long it waits for Redis, what its answer shall say."""

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any, Protocol

from gateway.errors import RateLimited
from gateway.limits import Verdict, ratelimit_headers
from gateway.money import Micros, format_yuan
from gateway.redis_link import Patience
from gateway.replies import Decision, Directives, cache_headers, outcome_of


class Room(Protocol):
    """What a request holds of the bytes that a process has room for."""

    size: int
    """Bytes held."""

    async def grow(self, size: int) -> None:
        """Hold so many bytes in all. Raises Unavailable if there is no room for too long."""


@dataclass(slots=True)
class Call:
    """Made by the HTTP layer for one request, and thrown away with it."""

    request_id: str
    idempotency_key: str | None = None
    wait: float = 0.0
    """Seconds to wait (RFC 7240, `Prefer: wait`): a repeat for the generation that its idempotency key belongs to, an
    asynchronous caller for its own."""
    asynchronous: bool = False
    """Whether the caller leaves, after that wait, once the generation is accounted for (`Prefer: respond-async`)."""
    reserved: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once it is."""
    user: str | None = None
    """The end user whom the request names, where it can; a client token's own stands before it."""
    index: int = 0
    """Tells equal asks of one request apart: each is to become a picture of its own."""
    room: Room | None = None
    patience: Patience = field(default_factory=Patience)
    directives: Directives = field(default_factory=Directives)
    verdicts: list[Verdict] = field(default_factory=list)
    decision: Decision | None = None
    """What was decided about the cache."""
    waited: bool = False
    """Whether it waited as long as it was asked to, or less."""
    stored: bool = False
    """Whether the reply was stored there."""
    collapsed: bool = False
    """Whether it was made for another request."""
    cost: Micros | None = None
    """What was billed for it, also where no image came of it; None if nothing was made, or nobody knows."""
    upstream_seconds: float | None = None
    """How long upstream took to answer and to give its images; None if it was not asked."""
    overhead_seconds: float | None = None
    """What the gateway itself added to that."""

    def heed(self, verdict: Verdict) -> None:
        """Remember a limiter's verdict for the headers; raise RateLimited if it is a refusal."""
        self.verdicts.append(verdict)
        if not verdict.allowed:
            raise RateLimited(f"Rate limit exceeded: {verdict.refused_by}", retry_after=verdict.retry_after)

    async def accounted(self, work: "asyncio.Task[Any]") -> None:
        """Wait until the generation that the work is to make is accounted for, or the work is done without one."""
        reserved = asyncio.create_task(self.reserved.wait())
        try:
            await asyncio.wait({work, reserved}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            reserved.cancel()

    async def leaves(self, work: "asyncio.Task[Any]", until: float) -> bool:
        """Wait with an asynchronous caller for its work, at least until that is accounted for, at most until `until`.

        Returns whether the work goes on without the caller; the time is by `time.monotonic`.
        """
        await self.accounted(work)
        if not work.done():
            await asyncio.wait({work}, timeout=max(0.0, until - time.monotonic()))
        return not work.done()

    def seen(self) -> dict[str, object]:
        """Return what the log line says of how it went; what is not known, or was not, is left out."""
        said = {
            "cache": None if self.decision is None else "collapsed" if self.collapsed else outcome_of(self.decision),
            "cost_yuan": None if self.cost is None else format_yuan(self.cost),
            "upstream_seconds": None if self.upstream_seconds is None else round(self.upstream_seconds, 6),
            "overhead_seconds": None if self.overhead_seconds is None else round(self.overhead_seconds, 6),
        }
        return {name: value for name, value in said.items() if value is not None}

    def headers(self) -> dict[str, str]:
        """Return what every answer that passed the limiter says, success or error, of limits and cache."""
        headers = ratelimit_headers(self.verdicts)
        if self.decision is not None:
            headers |= cache_headers(self.decision, stored=self.stored, collapsed=self.collapsed)
        if self.waited:
            headers["Preference-Applied"] = f"wait={self.wait:.0f}"
        return headers
