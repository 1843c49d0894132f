"""The two request headers: plain JSON only, one key only."""

import pytest

from gateway.contract import bearer, is_plain_json
from gateway.contract.headers import retry_after


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "Application/JSON",
        "application/json; charset=utf-8",
        "application/json;charset=UTF-8",
        'application/json ; charset="utf-8"',
        "application/json;",
    ],
)
def test_plain_json(content_type: str) -> None:
    """JSON in UTF-8 may be declared in any case, with or without its charset."""
    assert is_plain_json(content_type, None)


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "",
        "text/plain",
        "text/json",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/json; charset=utf-16",
        "application/json; charset=latin-1",
        "application/json; profile=x",
        "application/problem+json",
        "application/json, application/json",
        "application/json" + " ;" * 5000 + "x",
    ],
)
def test_other_types(content_type: str | None) -> None:
    """Anything else is not plain JSON, also no type at all."""
    assert not is_plain_json(content_type, None)


@pytest.mark.parametrize("coding", ["gzip", "br", "identity", ""])
def test_compressed_bodies(coding: str) -> None:
    """A body with a content coding is not plain JSON."""
    assert not is_plain_json("application/json", coding)


@pytest.mark.parametrize("value", ["KEY", "Bearer KEY", "bearer KEY", "BEARER  KEY", " KEY ", "bEaReR   KEY\t"])
def test_the_key(value: str) -> None:
    """A key stands alone or after Bearer, in any case, with any number of spaces; text and bytes are the same."""
    assert bearer([value]) == "KEY"
    assert bearer([value.encode()]) == "KEY"


@pytest.mark.parametrize(
    "value", ["", " ", "Bearer", "Bearer ", "bearer", "Basic KEY", "KEY KEY", "Bearer K EY", "K\u00e9Y", "K\0"]
)
def test_no_key(value: str) -> None:
    """An empty header, a scheme alone, another scheme and anything but visible ASCII hold no key."""
    assert bearer([value]) is None
    assert bearer([value.encode("latin-1")]) is None


def test_exactly_one_header() -> None:
    """None and two are no key: which of two would be meant is not guessed."""
    assert bearer([]) is None
    assert bearer(["KEY", "KEY"]) is None


@pytest.mark.parametrize(
    "value",
    ["Mon, 01 Jan 2026 00:00:00 +99999999999999999999", "Mon, 01 Jan 99999999999999999999 00:00:00 GMT", "9" * 20],
)
def test_a_retry_after_that_is_no_time_is_none(value: str) -> None:
    """Whatever another server writes there, nothing is raised."""
    assert retry_after({"retry-after": value, "date": "Mon, 01 Jan 2026 00:00:00 GMT"}) is None
