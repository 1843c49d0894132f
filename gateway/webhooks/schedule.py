"""What becomes of an event after a try: delivered, tried again on the published schedule, or given up. Pure.

2xx alone is success, a redirect is none. 410 says that the endpoint is gone for good; 429, 502 and 504, and whatever
comes with Retry-After, ask for a pause of the whole endpoint.
"""

from dataclasses import dataclass
from typing import Final, TypeAlias

SCHEDULE: Final = (0, 5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400)
"""Seconds before the first, second, … try, each counted from the one before."""

PAUSE_SECONDS: Final = 60
LONGEST_PAUSE_SECONDS: Final = 86_400
_SLOW_DOWN: Final = frozenset({429, 502, 504})
_GONE: Final = 410


@dataclass(frozen=True, slots=True)
class Tried:
    """What came of one try: an HTTP status with its Retry-After in seconds, or why there was none."""

    status: int | None
    failure: str | None = None
    retry_after: float | None = None


@dataclass(frozen=True, slots=True)
class Delivered:
    """The endpoint has it."""


@dataclass(frozen=True, slots=True)
class Again:
    """It is tried again after so many seconds; the endpoint gets nothing at all for `pause` of them."""

    after: float
    pause: float


@dataclass(frozen=True, slots=True)
class Failed:
    """It is given up; `gone` disables the endpoint."""

    gone: bool


Verdict: TypeAlias = Delivered | Again | Failed


def judge(tried: Tried, attempts: int) -> Verdict:
    """Say what comes after a try, the last of `attempts`."""
    if tried.status is not None and 200 <= tried.status < 300:  # noqa: PLR2004 -- RFC 9110, 15.3
        return Delivered()
    if tried.status == _GONE:
        return Failed(gone=True)
    if attempts >= len(SCHEDULE):
        return Failed(gone=False)
    pause = tried.retry_after
    if pause is None:
        pause = PAUSE_SECONDS if tried.status in _SLOW_DOWN else 0
    pause = min(pause, LONGEST_PAUSE_SECONDS)
    return Again(max(SCHEDULE[attempts], pause), pause)
