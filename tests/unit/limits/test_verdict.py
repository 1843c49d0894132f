"""Verdicts and the headers made of them."""

from gateway.limits import Rate, Verdict, ratelimit_headers
from gateway.limits.policy import EntryCharge, RateCharge
from gateway.limits.verdict import Met, judge

_REQUESTS = RateCharge("requests", "a", Rate(60, burst=10), 1, enforced=True)
_IMAGES = RateCharge("images", "b", Rate(30, burst=30), 4, enforced=True)
_PLACES = EntryCharge("concurrency", "c", 8, enforced=True)
_S = 1_000_000


def test_headers_of_an_admitted_request() -> None:
    """Every limit in force is listed with its quota, what is left, and the seconds until there is more."""
    took = judge([Met(_REQUESTS, int(2.5 * _S), exceeded=False)])
    entered = judge([Met(_IMAGES, 8 * _S, exceeded=False), Met(_PLACES, 3, exceeded=False)])
    assert ratelimit_headers([took, entered]) == {
        "RateLimit-Policy": '"requests";q=60;w=60, "images";q=30;w=60, "concurrency";q=8;qu="concurrent-requests"',
        "RateLimit": '"requests";r=7;t=1, "images";r=26;t=2, "concurrency";r=5',
    }


def test_retry_after_is_the_longest_wait_and_not_before_t() -> None:
    """Retry-After covers every limit that refuses, rounded up, and no other limit tells a later time."""
    verdict = judge(
        [
            Met(_REQUESTS, 9_500_000, exceeded=True),
            Met(_IMAGES, 60 * _S, exceeded=True),
            Met(RateCharge("key-requests", "d", Rate(1), 1, enforced=True), 60 * _S - 1, exceeded=False),
        ]
    )
    assert (verdict.allowed, verdict.refused_by, verdict.retry_after) == (False, "images", 8)
    assert ratelimit_headers([verdict])["RateLimit"] == '"requests";r=0;t=1, "images";r=0;t=2, "key-requests";r=0'


def test_shadow_is_counted_and_not_shown() -> None:
    """An exceeded limit in shadow mode is reported, refuses nothing, and appears in no header."""
    verdict = judge([Met(RateCharge("requests", "a", Rate(60), 1, enforced=False), 60 * _S, exceeded=True)])
    assert verdict == Verdict(allowed=True, violated=("requests",))
    assert ratelimit_headers([verdict]) == {}


def test_untouched_limit_tells_no_time() -> None:
    """When all is left there is no more to come."""
    verdict = judge([Met(_REQUESTS, 0, exceeded=False)])
    assert ratelimit_headers([verdict])["RateLimit"] == '"requests";r=10'
