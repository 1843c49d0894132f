"""Integers as JSON writes them: JSON has one type of number, so `1024`, `1024.0` and `1.024e3` are the same."""

from decimal import Decimal, InvalidOperation

from jiter import LosslessFloat

_BEYOND_EVERY_RANGE = 10**40
_DIGITS_MAX = 40


def read_integer(value: object) -> int | None:
    """Return the integer that a parsed JSON value is; None if it is none (`1.5`, `"1"`, `true`).

    One that is written with an exponent and too long for any field comes back as one outside every range.
    """
    if isinstance(value, bool):  # which Python counts among the integers
        return None
    if isinstance(value, int):
        return value
    return _integer_of(value) if isinstance(value, LosslessFloat) else None


def _integer_of(value: LosslessFloat) -> int | None:
    try:
        number = Decimal(bytes(value).decode())
    except InvalidOperation:  # an exponent of twenty digits
        return None
    if number == 0:
        return 0
    if number != number.to_integral_value():
        return None
    if number.adjusted() > _DIGITS_MAX:
        return _BEYOND_EVERY_RANGE if number > 0 else -_BEYOND_EVERY_RANGE
    return int(number)
