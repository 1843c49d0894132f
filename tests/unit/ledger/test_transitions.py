"""Which changes of state are legal and what they do to balances."""

import pytest

from gateway.ledger.bill import FREE, Bill
from gateway.ledger.records import Budget, Exhausted, Period, State, window_starts
from gateway.ledger.transitions import Balance, Change, refusal, settle

QUOTE = 100
EXACT, QUOTED = Bill("exact", 70), Bill("quoted", QUOTE)


@pytest.mark.parametrize("state", ["reserved", "unknown"])
@pytest.mark.parametrize(
    ("bill", "change"),
    [
        (EXACT, Change("settled", 70, -QUOTE)),
        (QUOTED, Change("settled", QUOTE, -QUOTE)),
        (Bill("exact", 700), Change("settled", 700, -QUOTE)),
        (FREE, Change("released", 0, -QUOTE)),
    ],
)
def test_a_bill_takes_the_place_of_the_hold(state: State, bill: Bill, change: Change) -> None:
    """What is held, also since a time-out, gives way to the bill, however high that is."""
    assert settle(state, QUOTE, None, None, bill) == change


@pytest.mark.parametrize(
    ("state", "cost", "kind", "bill", "change"),
    [
        ("settled", 100, "quoted", EXACT, Change("settled", -30, 0)),
        ("released", 0, "free", EXACT, Change("settled", 70, 0)),
        ("settled", 70, "exact", Bill("exact", 90), None),
        ("settled", 70, "exact", QUOTED, None),
        ("settled", 100, "quoted", QUOTED, None),
        ("settled", 100, "quoted", FREE, None),
        ("released", 0, "free", FREE, None),
        ("released", 0, "free", QUOTED, None),
    ],
)
def test_what_has_ended_is_only_corrected_by_upstreams_own_figure(
    state: State, cost: int, kind: str, bill: Bill, change: Change | None
) -> None:
    """An exact figure corrects a release or a quoted bill, by the difference; everything else is a repeat."""
    assert settle(state, QUOTE, cost, kind, bill) == change


def test_the_first_window_without_room_refuses() -> None:
    """Day, month and total are looked at in that order; spent and held count alike."""
    balances: dict[Period, Balance] = {"day": Balance(3, 3), "month": Balance(5, 5), "total": Balance(50, 0)}
    assert refusal(Budget(), balances, 1_000_000) is None
    assert refusal(Budget(day=10, month=14, total=54), balances, 4) is None
    assert refusal(Budget(day=10, month=13, total=53), balances, 4) == Exhausted("month", 13, 3)
    assert refusal(Budget(day=5), balances, 0) == Exhausted("day", 5, 0)


def test_a_day_lies_in_its_month_and_in_the_total() -> None:
    """The windows of a day are named by their starts."""
    assert window_starts("2026-11-30") == {"day": "2026-11-30", "month": "2026-11", "total": ""}
