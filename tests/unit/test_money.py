"""Money is exact."""

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.money import LARGEST_YUAN, MICROS_PER_YUAN, InvalidAmount, format_yuan, from_decimal, json_yuan, parse_yuan

AMOUNTS = st.integers(0, LARGEST_YUAN * MICROS_PER_YUAN)


@pytest.mark.parametrize(
    ("text", "micros"),
    [("0", 0), ("0.04", 40_000), ("12", 12_000_000), ("0.000001", 1), ("1000000000", LARGEST_YUAN * MICROS_PER_YUAN)],
)
def test_amounts_are_read_as_people_write_them(text: str, micros: int) -> None:
    """Whole yuan and up to six decimals."""
    assert parse_yuan(text) == micros


@pytest.mark.parametrize(
    "text",
    ["", " 1", "1 ", "+1", "-1", "01", "1.", ".5", "1e3", "0.0000001", "NaN", "Infinity", "1,5", "1_0", "1\n", "１",
     "1000000000.000001", "99999999999"],
)  # fmt: skip
def test_what_is_no_amount_is_refused(text: str) -> None:
    """A sign, an exponent, finer than a micro-yuan, other digits or too much: refused, never guessed."""
    with pytest.raises(InvalidAmount, match="between 0 and 1000000000"):
        parse_yuan(text)


@given(AMOUNTS)
def test_writing_and_reading_is_the_identity(micros: int) -> None:
    """Both ways of writing an amount lose nothing."""
    assert parse_yuan(format_yuan(micros)) == micros
    assert json.loads(json_yuan(micros), parse_float=Decimal, parse_int=Decimal) * MICROS_PER_YUAN == micros


@pytest.mark.parametrize(
    ("micros", "written", "number"),
    [
        (0, "0.000000", "0"),
        (40_000, "0.040000", "0.04"),
        (12_000_000, "12.000000", "12"),
        (10_000_000, "10.000000", "10"),
        (-1, "-0.000001", "-0.000001"),
        (-1_500_000, "-1.500000", "-1.5"),
    ],
)
def test_amounts_are_written_exactly(micros: int, written: str, number: str) -> None:
    """Six decimals for people, the shortest number for JSON."""
    assert (format_yuan(micros), json_yuan(micros)) == (written, number)


@given(st.decimals(0, LARGEST_YUAN, allow_nan=False, allow_infinity=False))
def test_a_cost_is_never_understated(yuan: Decimal) -> None:
    """What is finer than a micro-yuan is rounded up, by less than one."""
    assert 0 <= from_decimal(yuan) - Decimal(yuan) * MICROS_PER_YUAN < 1
