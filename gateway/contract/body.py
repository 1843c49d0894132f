"""From the bytes of a body to its members, strictly: one JSON object in UTF-8, every name once (RFC 8259)."""

import re
from typing import Any

import jiter

from gateway.contract import violation
from gateway.contract.violation import Violation

_DUPLICATE = re.compile(r'Detected duplicate key "(.*)" at line \d+ column \d+', re.DOTALL)
_SURROGATE = re.compile(r"(?:lone leading surrogate in|unexpected end of) hex escape at .*")
_TOO_LONG = re.compile(r"number out of range at .*")

_ESCAPE = re.compile(
    rb"""
    \\ (?: u[dD][89abAB][0-9a-fA-F]{2} \\u[dD][c-fC-F][0-9a-fA-F]{2}
         | (?P<lone> u[dD][89a-fA-F][0-9a-fA-F]{2} )
         | . )
    """,
    re.VERBOSE | re.DOTALL,
)
_LONG_NUMBER = re.compile(rb"[0-9]{1000,}+(?:\.[0-9]++)?+(?:[eE][+-]?[0-9]++)?+")
_ESCAPES_MAX = 200_000
_LONG_NUMBER_BODY_MAX = 1_048_576
"""Naming the field at fault is a courtesy; beyond these a body is not worth the time (some 0.1 s)."""

_COMMAS_MAX = 262_144
"""Twice as many as the longest documented prompt has characters; each may stand for a value of some 100 bytes."""
_STEP = 65_536


def is_crowded(body: bytes) -> bool:
    """Tell whether JSON may hold so many values that reading it would take many times its own memory, and seconds.

    Counted in steps, between which other threads have their turn. Most steps of Base64 have no comma: to find none is
    several times as fast as to count them.
    """
    steps = ((start, start + _STEP) for start in range(0, len(body), _STEP))
    return sum(body.count(b",", *step) for step in steps if body.find(b",", *step) >= 0) > _COMMAS_MAX


def read_members(body: bytes) -> dict[str, Any]:
    """Parse a body into the members of its one object; a number with a fraction or an exponent is a LosslessFloat.

    Raises Violation for anything that is no JSON object in UTF-8 (also NaN, trailing data, deep nesting, a byte order
    mark), for one of very many values, and for a name that occurs twice, even if it is escaped or its values are equal.
    Lone surrogates come as NUL, integers of thousands of digits as 1e999: no field allows either, and so the field at
    fault can be named.
    """
    if is_crowded(body):
        raise _no_object()
    try:
        parsed = _parse(body)
    except ValueError as fault:
        parsed = _parse_tamed(body, str(fault))
    if not isinstance(parsed, dict):
        raise _no_object()
    return parsed


def _parse(body: bytes) -> Any:
    # Only names are cached by the parser: a prompt is nobody else's.
    return jiter.from_json(
        body, allow_inf_nan=False, cache_mode="keys", catch_duplicate_keys=True, float_mode="lossless-float"
    )


def _parse_tamed(body: bytes, complaint: str) -> Any:
    """Parse again what is valid JSON and yet more than Python's types hold; else raise the fitting Violation."""
    if _SURROGATE.fullmatch(complaint) and body.count(b"\\") <= _ESCAPES_MAX:
        body = _ESCAPE.sub(lambda escape: rb"\u0000" if escape["lone"] else escape[0], body)
    elif _TOO_LONG.fullmatch(complaint) and len(body) <= _LONG_NUMBER_BODY_MAX:
        body = _LONG_NUMBER.sub(b"1e999", body)
    else:
        raise _fault(complaint)
    try:
        return _parse(body)
    except ValueError as fault:
        raise _fault(str(fault)) from None


def _fault(complaint: str) -> Violation:
    if duplicate := _DUPLICATE.fullmatch(complaint):
        return violation.body(f"Duplicate parameter: {violation.echo(duplicate[1])}")
    return _no_object()


def _no_object() -> Violation:
    return violation.body("A JSON object is required")
