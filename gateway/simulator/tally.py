"""What the simulator counts and remembers of the calls it saw, for tests to ask about over HTTP."""

import hashlib
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

CALLS_REMEMBERED = 1000
_TEXT_SHOWN = 200


@dataclass(slots=True)
class Tally:
    """Counts since the start. `open_now` are calls of POST /images/generate whose answer is not complete."""

    calls: int = 0
    open_now: int = 0
    open_most: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    links: Counter[str] = field(default_factory=Counter)
    seen: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=CALLS_REMEMBERED))

    def remember(self, account: str, members: dict[str, Any]) -> None:
        """Note what was received, long texts (images, above all) by their digests."""
        self.seen.append({"account": account, "body": {_short(name): _short(value) for name, value in members.items()}})

    def report(self) -> dict[str, Any]:
        """Return all counts, as JSON."""
        return {
            "calls": self.calls,
            "open": self.open_now,
            "max_open": self.open_most,
            "outcomes": dict(self.outcomes),
            "links": dict(self.links),
        }


class CountOpen:
    """Counts a call as open from its first byte until its answer is complete."""

    def __init__(self, app: ASGIApp, tally: Tally, path: str) -> None:
        """Count the calls of one path."""
        self._app = app
        self._tally = tally
        self._path = path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the call on and count it."""
        if scope["type"] != "http" or scope["path"] != self._path or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        tally = self._tally
        tally.calls += 1
        tally.open_now += 1
        tally.open_most = max(tally.open_most, tally.open_now)
        try:
            await self._app(scope, receive, send)
        finally:
            tally.open_now -= 1


def _short(value: Any) -> Any:
    if not isinstance(value, str):
        # A fraction is a Decimal here, which JSON cannot carry; anything else is as it came.
        return value if value is None or isinstance(value, int) else repr(value)[:_TEXT_SHOWN]
    if len(value) <= _TEXT_SHOWN:
        return value.encode(errors="backslashreplace").decode()
    digest = hashlib.sha256(value.encode(errors="backslashreplace")).hexdigest()
    return f"sha256:{digest} ({len(value)} characters)"
