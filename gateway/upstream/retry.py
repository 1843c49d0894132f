"""When a paid call is made again: only when it certainly was not worked on. Pure.

A connection that was never made, and 429 or 503, are tried again within the limits. Another account is tried at once
when upstream was busy with this one or refused its key; a host that cannot be reached is the same for all accounts, so
there a pause comes first. An answer that was billed was worked on, whatever it says, and is never tried again.
"""

from dataclasses import dataclass

from gateway.upstream.answer import AccountFault, Answer, Busy, NotConnected


@dataclass(frozen=True, slots=True)
class RetryLimits:
    """The most attempts of one call, the most seconds of pauses between them, and the ceiling of the first pause."""

    attempts: int
    waiting: float
    first_pause: float


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a call has come: attempts made, seconds paused, seconds left, and whether an untried account is free."""

    attempts: int
    waited: float
    left: float
    another: bool


def pause_before_next(answer: Answer, progress: Progress, limits: RetryLimits, jitter: float) -> float | None:
    """Return the seconds to wait before the next attempt, or None when `answer` stands. `jitter` is in [0, 1).

    Pauses grow exponentially with full jitter; a Retry-After is heard, or ends the call when it is too long.
    """
    if progress.attempts >= limits.attempts:
        return None
    pause = jitter * limits.first_pause * 2 ** (progress.attempts - 1)
    match answer:
        case AccountFault(cost=cost) | Busy(cost=cost) if cost:
            return None
        case AccountFault() | Busy() if progress.another:
            return 0.0
        case Busy(retry_after=float(seconds)):
            pause = max(pause, seconds)
        case Busy() | NotConnected():
            pass
        case _:
            return None
    return pause if pause <= limits.waiting - progress.waited and pause < progress.left else None
