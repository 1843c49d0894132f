"""Cache-Status and Age."""

import pytest

from gateway.replies import Decision, Forward, Hit, OnlyIfCached, cache_headers


@pytest.mark.parametrize(
    ("decision", "stored", "collapsed", "status"),
    [
        (Hit(7, 93), False, False, "gateway; hit; ttl=93"),
        (Forward("uri-miss"), True, False, "gateway; fwd=uri-miss; stored"),
        (Forward("uri-miss"), False, False, "gateway; fwd=uri-miss"),
        (Forward("uri-miss"), False, True, "gateway; fwd=uri-miss; collapsed"),
        (Forward("stale"), True, True, "gateway; fwd=stale; stored; collapsed"),
        (Forward("request"), True, False, "gateway; fwd=request; stored"),
        (Forward("bypass"), False, False, "gateway; fwd=bypass"),
        (OnlyIfCached(), False, False, "gateway; detail=only-if-cached"),
    ],
)
def test_cache_status(decision: Decision, stored: bool, collapsed: bool, status: str) -> None:
    """A reply says what the cache did, in the words of RFC 9211."""
    assert cache_headers(decision, stored=stored, collapsed=collapsed)["Cache-Status"] == status


def test_age_belongs_to_hits() -> None:
    """Only what comes out of the cache has an age."""
    assert cache_headers(Hit(7, 93))["Age"] == "7"
    assert "Age" not in cache_headers(Forward("uri-miss"), collapsed=True)
