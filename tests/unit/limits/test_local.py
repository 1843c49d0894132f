"""The limiter of one process, under a clock of the test's own."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from gateway.limits import LocalLimiter, Rate, Scope, Verdict
from gateway.limits.policy import RateCharge
from gateway.metrics import Metrics
from gateway.redis_link import Patience

_SECOND = 1_000_000


class _Clock:
    def __init__(self) -> None:
        self.now = 1_000 * _SECOND

    def __call__(self) -> int:
        return self.now


def _limiter(clock: _Clock, processes: int = 1) -> LocalLimiter:
    return LocalLimiter(Metrics(CollectorRegistry()), processes=processes, clock=clock)


def _take(limiter: LocalLimiter, team: Scope, id: str) -> Verdict:  # noqa: A002 -- the word of the house
    return asyncio.run(limiter.take((team,), id, Patience()))


@given(
    per_minute=st.integers(1, 100_000),
    burst=st.none() | st.integers(1, 500),
    pauses=st.lists(st.integers(0, 3 * _SECOND), min_size=1, max_size=60),
    images=st.integers(1, 5),
)
def test_admitted_within_the_promise(per_minute: int, burst: int | None, pauses: list[int], images: int) -> None:
    """Whatever the pauses, no more than b + rT is admitted, and whoever waits Retry-After is in."""
    rate, clock = Rate(per_minute, burst), _Clock()
    limiter, team = _limiter(clock), Scope("t", "t", images=Rate(per_minute, burst))
    admitted, start = 0, clock.now

    def enter(number: int) -> Verdict:
        return asyncio.run(limiter.enter((team,), str(number), images, Patience()))

    for number, pause in enumerate(pauses):
        clock.now += pause
        verdict = enter(2 * number)
        if not verdict.allowed and verdict.retry_after is not None:
            assert verdict.standings[0].reset is not None
            assert verdict.retry_after >= verdict.standings[0].reset
            clock.now += verdict.retry_after * _SECOND
            verdict = enter(2 * number + 1)
            assert verdict.allowed
        admitted += images * verdict.allowed
        assert verdict.allowed or images > rate.size
        assert admitted <= rate.size + per_minute * (clock.now - start) / (60 * _SECOND) + 1


@given(gap=st.integers(0, 20 * _SECOND))
def test_never_idle_while_there_is_room(gap: int) -> None:
    """A caller who asks without pause gets the whole rate, whatever the gap before."""
    clock = _Clock()
    limiter, team = _limiter(clock), Scope("t", "t", requests=Rate(60, burst=5))
    admitted = sum(_take(limiter, team, f"a{number}").allowed for number in range(6))
    clock.now += gap
    admitted += sum(_take(limiter, team, f"b{number}").allowed for number in range(6))
    assert admitted == 5 + min(gap // _SECOND, 5)


def test_remembers_for_a_minute_and_forgets() -> None:
    """A repeated id is answered as before for a minute; then it is new, and nothing is kept of it."""
    clock = _Clock()
    limiter, team = _limiter(clock), Scope("t", "t", requests=Rate(1000))
    first = _take(limiter, team, "x")
    clock.now += 59 * _SECOND
    assert _take(limiter, team, "x") is first
    clock.now += 200 * _SECOND
    _take(limiter, team, "y")
    assert len(limiter._remembered) == 1
    assert len(limiter._arrivals) == 1


def test_follows_the_highest_level() -> None:
    """Of answers that arrive out of order, the highest level stands, and sinks with time."""
    clock = _Clock()
    limiter = _limiter(clock)
    charge = RateCharge("requests", "k", Rate(60), 1, enforced=True)
    limiter.follow(charge, 20 * _SECOND, clock.now)
    limiter.follow(charge, 10 * _SECOND, clock.now)
    clock.now += 5 * _SECOND
    assert limiter.level(charge) == 15 * _SECOND


@pytest.mark.parametrize("processes", [2, 3, 8])
def test_shares_add_up(processes: int) -> None:
    """Processes that start from a used-up burst admit together what the rate admits, to within one each."""
    clock, rate = _Clock(), Rate(60, burst=10)
    team = Scope("t", "t", requests=rate)
    limiters = [_limiter(clock, processes) for _ in range(processes)]
    charge = RateCharge("requests", "igw:limits:1:{t}:requests:t", rate, 1, enforced=True)
    for limiter in limiters:
        limiter.follow(charge, charge.depth, clock.now)
    admitted, seconds = 0, 240
    for second in range(seconds):
        clock.now += _SECOND
        admitted += sum(_take(limiter, team, f"{second}").allowed for limiter in limiters)
        assert all(limiter.level(charge) <= charge.depth for limiter in limiters), "looking changes nothing"
    assert seconds - processes <= admitted <= seconds + processes


def test_loss_is_no_reason_to_refuse_within_the_share() -> None:
    """A single image call as large as the burst passes a process's share, and is paid for by waiting."""
    clock = _Clock()
    limiter, team = _limiter(clock, processes=4), Scope("t", "t", images=Rate(60, burst=8))
    assert asyncio.run(limiter.enter((team,), "a", 8, Patience())).allowed
    refused = asyncio.run(limiter.enter((team,), "b", 8, Patience()))
    assert refused.retry_after == 32
