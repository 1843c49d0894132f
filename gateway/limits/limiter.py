"""The protocol of both limiters; tests/contract holds them to it."""

from types import TracebackType
from typing import Protocol, Self

from gateway.limits.policy import Scopes
from gateway.limits.verdict import Verdict
from gateway.redis_link import Patience


class Limiter(Protocol):
    """Rates and concurrency of tenants, their keys and client tokens.

    An async context manager: inside, places entered are kept.

    Each call is all or nothing over all scopes, and idempotent: repeated with the same id within a minute, it
    answers as before and takes nothing. Neither raises for a store that is down.
    """

    async def take(self, scopes: Scopes, id: str, patience: Patience) -> Verdict:  # noqa: A002 -- the word of the house
        """Take one request. `id` is the gateway's own, never the caller's."""
        ...

    async def enter(self, scopes: Scopes, id: str, images: int, patience: Patience) -> Verdict:  # noqa: A002 -- the word of the house
        """Take the images of a generation and a place among those in progress, kept until `leave` or the process ends.

        A place whose process ended without leaving is free again after 30 seconds.
        """
        ...

    async def leave(self, id: str, patience: Patience) -> None:  # noqa: A002 -- the word of the house
        """Give back the place of a generation; nothing happens if it has none."""
        ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
