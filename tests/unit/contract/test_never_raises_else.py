"""Whatever is sent, the contract answers with an ask or a Violation, and an accepted ask is sound."""

from typing import Any

import orjson
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.contract import FIELDS, GenerateAsk, Violation
from tests.unit.contract.samples import PNG1, read

_fuzz = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])

_values = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**63), 2**64 - 1),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(max_size=30),
        st.sampled_from(["flux-2-pro", "gemini-2.5-flash-image", "1:1", "png", PNG1, "https://example.com/a", 1024, 2]),
        st.text(max_size=30).map("https://".__add__),
        st.text(max_size=30).map("data:image/png;base64,".__add__),
    ),
    lambda values: st.lists(values, max_size=2) | st.dictionaries(st.text(max_size=4), values, max_size=2),
    max_leaves=3,
)
_members = st.fixed_dictionaries(
    {"model": st.sampled_from(["flux-2-pro", "gemini-2.5-flash-image"]), "prompt": st.text(max_size=20)},
    optional={name: _values for name in FIELDS if name not in {"model", "prompt"}},
)


def _try(body: bytes) -> GenerateAsk | None:
    try:
        return read(body)
    except Violation as violation:
        text = violation.text
    assert text.startswith("Invalid ")
    assert text.isprintable()
    assert len(text) < 400
    return None


@_fuzz
@given(st.binary(max_size=200))
def test_any_bytes(body: bytes) -> None:
    """No bytes raise anything but a Violation."""
    _try(body)


@_fuzz
@given(st.binary(max_size=30), st.data())
def test_damaged_bodies(noise: bytes, data: st.DataObject) -> None:
    """No damage to a good body raises anything but a Violation."""
    body = (
        b'{"model":"flux-2-pro","prompt":"\\ud83d\\ude00","width":1024.0,"seed":12e3,"input_image":"%s"}'
        % PNG1.encode()
    )
    at = data.draw(st.integers(0, len(body)))
    _try(body[:at] + noise + body[at + data.draw(st.integers(0, 5)) :])


@_fuzz
@given(st.text(alphabet="0123456789.eE+-", max_size=30))
def test_any_number(number: str) -> None:
    """No spelling of a number raises anything but a Violation."""
    for name in ("width", "seed", "safety_tolerance"):
        _try(f'{{"model":"flux-2-pro","prompt":"p","{name}":{number}}}'.encode())


@_fuzz
@given(_members)
def test_any_members(members: dict[str, Any]) -> None:
    """An accepted ask sends only what was given, reads back as itself, and has canonical bytes."""
    body = orjson.dumps(members)
    if (ask := _try(body)) is None:
        return
    wire = ask.wire()
    assert wire.keys() <= members.keys()
    assert read(orjson.dumps(wire)) == ask
    assert ask.canonical() == read(body).canonical()
