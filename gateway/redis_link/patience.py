"""How long one request waits for Redis, over all its trips."""

import time
from types import TracebackType
from typing import Self

REQUEST_SECONDS = 0.6


class Patience:
    """One request's patience with Redis: made for the request, handed to every part that asks Redis on its behalf.

    Only time spent waiting counts, and trips that wait side by side count once. After one failed trip nothing is left:
    the request goes on without Redis.
    """

    __slots__ = ("_left", "_since", "_waiting")

    def __init__(self, seconds: float = REQUEST_SECONDS) -> None:
        self._left = seconds
        self._waiting = 0
        self._since = 0.0

    @property
    def left(self) -> float:
        """Seconds that may still be waited; 0 when the patience is used up or a trip failed."""
        spent = time.monotonic() - self._since if self._waiting else 0.0
        return max(0.0, self._left - spent)

    def lose(self) -> None:
        """Give up on Redis for the rest of the request."""
        self._left = 0.0

    def waiting(self) -> Self:
        """Count the time spent inside the block: `with patience.waiting()`."""
        return self

    def __enter__(self) -> None:
        if self._waiting == 0:
            self._since = time.monotonic()
        self._waiting += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._waiting -= 1
        if self._waiting == 0:
            self._left -= time.monotonic() - self._since
