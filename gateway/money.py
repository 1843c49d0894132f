"""Money is an integer of micro-yuan. Decimals exist only where people or JSON read or write an amount."""

import re
from decimal import ROUND_CEILING, Decimal
from typing import TypeAlias

Micros: TypeAlias = int
"""Micro-yuan: 1_000_000 are one yuan."""

MICROS_PER_YUAN = 1_000_000

LARGEST_YUAN = 1_000_000_000
"""The largest amount that may be configured: below 2^53 micro-yuan, so a Prometheus counter stays exact."""

_AMOUNT = re.compile(r"(0|[1-9][0-9]{0,9})(\.[0-9]{1,6})?", re.ASCII)


class InvalidAmount(ValueError):
    """An amount that a person wrote is not one; the text says what is wanted."""


def from_decimal(yuan: Decimal) -> Micros:
    """Return a finite amount of yuan in micro-yuan; what is finer is rounded up, so a cost is never understated."""
    return int((yuan * MICROS_PER_YUAN).to_integral_value(rounding=ROUND_CEILING))


def parse_yuan(text: str) -> Micros:
    """Read an amount as people write it: `12`, `0.04`, at most six decimals, no sign, no exponent.

    Raises InvalidAmount.
    """
    if not _AMOUNT.fullmatch(text) or (micros := from_decimal(Decimal(text))) > LARGEST_YUAN * MICROS_PER_YUAN:
        raise InvalidAmount(f"must be an amount of yuan between 0 and {LARGEST_YUAN}, with at most 6 decimals")
    return micros


def format_yuan(micros: Micros) -> str:
    """Write an amount with six decimals, exactly: `0.040000`."""
    sign, rest = ("-", -micros) if micros < 0 else ("", micros)
    return f"{sign}{rest // MICROS_PER_YUAN}.{rest % MICROS_PER_YUAN:06d}"


def json_yuan(micros: Micros) -> str:
    """Write an amount as the shortest exact JSON number: `0.04`, `0`, `12`."""
    text = format_yuan(micros).rstrip("0")
    return text.removesuffix(".")
