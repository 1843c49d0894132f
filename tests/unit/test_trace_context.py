"""Which `traceparent` is one: the standard's own rules, section 3.2 of https://www.w3.org/TR/trace-context-1/."""

import pytest

from gateway.trace_context import trace_id_of

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.mark.parametrize("header", [f"00-{TRACE}-{PARENT}-01", f" 00-{TRACE}-{PARENT}-00", f"01-{TRACE}-{PARENT}-01-x"])
def test_a_trace_is_named(header: str) -> None:
    """Sampled or not, and also by a version that is not known yet."""
    assert trace_id_of(header) == TRACE


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        TRACE,
        f"ff-{TRACE}-{PARENT}-01",
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}-01-x",
        f"00-{TRACE}-{PARENT}-1",
        f"00-{TRACE}-{PARENT}-01\n",
        f"00-{TRACE[1:]}\u0663-{PARENT}-01",
        f"0-{TRACE}-{PARENT}-01",
    ],
)
def test_anything_else_names_none(header: str | None) -> None:
    """What the standard does not let through is as if it were not there."""
    assert trace_id_of(header) is None
