"""Cache-Control of a request: what is read, and what is decided."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.replies import Decision, Directives, Forward, Hit, OnlyIfCached, decide, read_directives
from gateway.replies.directives import SECONDS_MAX

DAY = 24 * 3600


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], Directives()),
        ([""], Directives()),
        (["no-cache"], Directives(no_cache=True)),
        (["No-Cache, NO-STORE"], Directives(no_cache=True, no_store=True)),
        (["no-store", "only-if-cached"], Directives(no_store=True, only_if_cached=True)),
        (["max-age=60"], Directives(max_age=60)),
        (["max-age=0"], Directives(max_age=0)),
        (['MAX-AGE="60"'], Directives(max_age=60)),
        (["min-fresh=5 ,\tmax-age=7"], Directives(min_fresh=5, max_age=7)),
        (["max-age=60, max-age=10", "max-age=30"], Directives(max_age=10)),
        (["min-fresh=60, min-fresh=90"], Directives(min_fresh=90)),
        (["max-age=" + "9" * 5000], Directives(max_age=SECONDS_MAX)),
        (["max-age=2147483648"], Directives(max_age=SECONDS_MAX)),
        (["max-age, max-age=, max-age=-1, max-age=1.5, max-age=１, min-fresh=x"], Directives()),
        (["max-stale=5, no-transform, stale-if-error=9, priority=u"], Directives()),
        (['x="a, no-cache, b", no-store'], Directives(no_store=True)),
        (['x="a\\", no-cache, b", no-store'], Directives(no_store=True)),
        (['no-store, x="unclosed, no-cache'], Directives(no_store=True)),
        ([",, ,no-cache,,"], Directives(no_cache=True)),
        (["no-cachet, xno-cache, no cache"], Directives()),
    ],
)
def test_reading(values: list[str], expected: Directives) -> None:
    """Directives are read in any case, spread over fields, quoted or not; what says nothing is passed over."""
    assert read_directives(values) == expected


@given(st.lists(st.text()))
def test_reading_never_fails(values: list[str]) -> None:
    """Whatever a caller sends, it is read."""
    assert isinstance(read_directives(values), Directives)


@pytest.mark.parametrize(
    ("directives", "age", "expected"),
    [
        (Directives(), None, Forward("uri-miss")),
        (Directives(), 0, Hit(0, DAY)),
        (Directives(), DAY - 1, Hit(DAY - 1, 1)),
        (Directives(), DAY, Forward("stale")),
        (Directives(no_cache=True), 10, Forward("request")),
        (Directives(no_cache=True), None, Forward("request")),
        (Directives(no_store=True), 10, Hit(10, DAY - 10)),
        (Directives(max_age=10), 10, Hit(10, DAY - 10)),
        (Directives(max_age=9), 10, Forward("request")),
        (Directives(max_age=0), 0, Hit(0, DAY)),
        (Directives(min_fresh=DAY - 10), 10, Hit(10, DAY - 10)),
        (Directives(min_fresh=DAY - 9), 10, Forward("request")),
        (Directives(max_age=0, min_fresh=1), None, Forward("uri-miss")),
        (Directives(only_if_cached=True), 10, Hit(10, DAY - 10)),
        (Directives(only_if_cached=True), None, OnlyIfCached()),
        (Directives(only_if_cached=True), DAY, OnlyIfCached()),
        (Directives(only_if_cached=True, no_cache=True), 10, OnlyIfCached()),
        (Directives(only_if_cached=True, max_age=9), 10, OnlyIfCached()),
    ],
)
def test_deciding(directives: Directives, age: int | None, expected: Decision) -> None:
    """A stored reply that is young enough for policy and caller is the answer; only-if-cached never goes on."""
    assert decide(directives, age, DAY) == expected


def test_what_the_policy_does_not_cover_is_never_a_hit() -> None:
    """Where the policy does not cover an ask it goes on, whatever is stored; only-if-cached is refused all the same."""
    assert decide(Directives(), 10, DAY, covered=False) == Forward("bypass")
    assert decide(Directives(no_cache=True), None, DAY, covered=False) == Forward("bypass")
    assert decide(Directives(only_if_cached=True), 10, DAY, covered=False) == OnlyIfCached()


def test_who_flies_alone() -> None:
    """An ask that wants a picture of its own, or leaves nothing stored, shares no flight."""
    assert Directives(no_cache=True).alone
    assert Directives(no_store=True).alone
    assert not Directives(max_age=0, min_fresh=1, only_if_cached=True).alone
