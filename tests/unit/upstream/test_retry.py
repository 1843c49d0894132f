"""When a call is made again, and after which pause."""

from decimal import Decimal

import pytest

from gateway.upstream.answer import AccountFault, Answer, Busy, Garbage, Generated, Lost, NotConnected, ServerFault
from gateway.upstream.retry import Progress, RetryLimits, pause_before_next

LIMITS = RetryLimits(attempts=3, waiting=10.0, first_pause=1.0)


def pause(
    answer: Answer, attempts: int = 1, waited: float = 0.0, left: float = 100.0, another: bool = False
) -> float | None:
    return pause_before_next(answer, Progress(attempts, waited, left, another), LIMITS, jitter=0.5)


@pytest.mark.parametrize("answer", [Busy(None, None), NotConnected(timeout=False), NotConnected(timeout=True)])
def test_pauses_grow(answer: Answer) -> None:
    """The pause doubles, by a random part of it, until the attempts are used up."""
    assert [pause(answer, attempts) for attempts in (1, 2, 3)] == [0.5, 1.0, None]


def test_retry_after_is_the_least_pause() -> None:
    """What upstream asks for is waited at least, within what is left."""
    assert pause(Busy(4.0, None)) == 4.0
    assert pause(Busy(0.0, None)) == 0.5
    assert pause(Busy(10.0, None)) == 10.0
    assert pause(Busy(10.1, None)) is None
    assert pause(Busy(4.0, None), waited=6.1) is None
    assert pause(Busy(4.0, None), left=4.0) is None


def test_another_account_needs_no_pause() -> None:
    """A busy or refused account is left for another at once; an unreached host is the same for all."""
    assert pause(Busy(30.0, None), another=True) == 0.0
    assert pause(AccountFault("", None), another=True) == 0.0
    assert pause(AccountFault("", None)) is None
    assert pause(NotConnected(timeout=False), another=True) == 0.5


@pytest.mark.parametrize(
    "answer",
    [
        Busy(None, Decimal("0.01")),
        AccountFault("", Decimal("0.01")),
        ServerFault("", None),
        Garbage(""),
        Lost(timeout=True, detail=""),
        Generated((), 0, None, None, None),
    ],
)
def test_nothing_that_may_have_been_worked_on_is_repeated(answer: Answer) -> None:
    """Billed, broken, silent or done: once is all."""
    assert pause(answer, another=True) is None


def test_a_cost_of_nothing_is_no_bill() -> None:
    """A busy answer that names a cost of 0 is tried again."""
    assert pause(Busy(None, Decimal(0))) == 0.5
