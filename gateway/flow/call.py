"""One request on its way through the flow: what it wishes, how long it waits for Redis, what its answer shall say."""

from dataclasses import dataclass, field

from gateway.errors import RateLimited
from gateway.limits import Verdict, ratelimit_headers
from gateway.redis_link import Patience


@dataclass(slots=True)
class Call:
    """Made by the HTTP layer for one request, and thrown away with it."""

    request_id: str
    idempotency_key: str | None = None
    wait: float = 0.0
    """Seconds a repeat waits for the generation that its idempotency key belongs to (RFC 7240, `Prefer: wait`)."""
    patience: Patience = field(default_factory=Patience)
    verdicts: list[Verdict] = field(default_factory=list)

    def heed(self, verdict: Verdict) -> None:
        """Remember a limiter's verdict for the headers; raise RateLimited if it is a refusal."""
        self.verdicts.append(verdict)
        if not verdict.allowed:
            raise RateLimited(f"Rate limit exceeded: {verdict.refused_by}", retry_after=verdict.retry_after)

    def headers(self) -> dict[str, str]:
        """Return the rate limit headers of every answer that passed the limiter, success or error."""
        return ratelimit_headers(self.verdicts)
