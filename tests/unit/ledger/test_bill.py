"""Which figure is billed."""

from decimal import Decimal

import pytest

from gateway.ledger.bill import Bill, bill_for

QUOTE = 40_000


@pytest.mark.parametrize(
    ("cost", "micros"),
    [("0", 0), ("-0", 0), ("0.04", 40_000), ("0.0000001", 1), ("4", 4_000_000), ("3.9999999", 4_000_000)],
)
def test_upstreams_figure_is_billed_exactly_and_rounded_up(cost: str, micros: int) -> None:
    """A cost from nothing to a hundred quotes is the bill; what is finer than a micro-yuan is rounded up."""
    assert bill_for(Decimal(cost), QUOTE) == Bill("exact", micros)


@pytest.mark.parametrize("cost", [None, "-0.01", "NaN", "Infinity", "-Infinity", "4.0000001", "1e999999", "sNaN"])
def test_what_cannot_be_a_cost_is_billed_at_the_quote(cost: str | None) -> None:
    """No cost, a negative one, no number or one above a hundred quotes bills the quote and raises the alarm."""
    assert bill_for(None if cost is None else Decimal(cost), QUOTE) == Bill("quoted", QUOTE, alarming=True)


def test_a_free_quote_takes_only_a_free_cost() -> None:
    """A hundred times nothing is nothing."""
    assert bill_for(Decimal(0), 0) == Bill("exact", 0)
    assert bill_for(Decimal("0.01"), 0) == Bill("quoted", 0, alarming=True)
