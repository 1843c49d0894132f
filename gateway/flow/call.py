"""One request on its way through the flow: what it wishes, how long it waits for Redis, what its answer shall say."""

from dataclasses import dataclass, field
from typing import Protocol

from gateway.errors import RateLimited
from gateway.limits import Verdict, ratelimit_headers
from gateway.redis_link import Patience
from gateway.replies import Decision, Directives, cache_headers


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
    """Seconds a repeat waits for the generation that its idempotency key belongs to (RFC 7240, `Prefer: wait`)."""
    index: int = 0
    """Tells equal asks of one request apart: each is to become a picture of its own."""
    room: Room | None = None
    patience: Patience = field(default_factory=Patience)
    directives: Directives = field(default_factory=Directives)
    verdicts: list[Verdict] = field(default_factory=list)
    decision: Decision | None = None
    """What was decided about the cache."""
    waited: bool = False
    """Whether it waited for the first request of its idempotency key."""
    stored: bool = False
    """Whether the reply was stored there."""
    collapsed: bool = False
    """Whether it was made for another request."""

    def heed(self, verdict: Verdict) -> None:
        """Remember a limiter's verdict for the headers; raise RateLimited if it is a refusal."""
        self.verdicts.append(verdict)
        if not verdict.allowed:
            raise RateLimited(f"Rate limit exceeded: {verdict.refused_by}", retry_after=verdict.retry_after)

    def headers(self) -> dict[str, str]:
        """Return what every answer that passed the limiter says, success or error, of limits and cache."""
        headers = ratelimit_headers(self.verdicts)
        if self.decision is not None:
            headers |= cache_headers(self.decision, stored=self.stored, collapsed=self.collapsed)
        if self.waited:
            headers["Preference-Applied"] = f"wait={self.wait:.0f}"
        return headers
