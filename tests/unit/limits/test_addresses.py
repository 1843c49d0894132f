"""Failed authentication, by address."""

from gateway.limits import AddressLimiter, Rate
from gateway.limits.addresses import ADDRESSES_MAX

_SECOND = 1_000_000


class _Clock:
    now = 0

    def __call__(self) -> int:
        return self.now


def test_failures_are_slowed_and_forgiven() -> None:
    """After a burst of failures an address is told when to come back, and then may fail once more."""
    clock = _Clock()
    limiter = AddressLimiter(Rate(60, burst=3), clock=clock)
    for _ in range(3):
        assert limiter.blocked("192.0.2.1") is None
        limiter.failed("192.0.2.1")
    assert limiter.blocked("192.0.2.1") == 1
    assert limiter.blocked("192.0.2.2") is None
    clock.now += _SECOND
    assert limiter.blocked("192.0.2.1") is None


def test_failing_on_does_not_lengthen_the_block() -> None:
    """However often an address fails while blocked, the block lasts no longer."""
    limiter = AddressLimiter(Rate(60, burst=3), clock=_Clock())
    for _ in range(1000):
        limiter.failed("192.0.2.1")
    assert limiter.blocked("192.0.2.1") == 1


def test_one_party_is_one_address() -> None:
    """The addresses of one IPv6 network count together, and an IPv4 address counts the same in either form."""
    limiter = AddressLimiter(Rate(1, burst=1), clock=_Clock())
    limiter.failed("2001:db8:1:2::1")
    limiter.failed("::ffff:192.0.2.7")
    limiter.failed("unix socket")
    assert limiter.blocked("2001:db8:1:2:ffff::9") == 60
    assert limiter.blocked("2001:db8:1:3::1") is None
    assert limiter.blocked("192.0.2.7") == 60
    assert limiter.blocked("unix socket") == 60


def test_memory_is_bounded() -> None:
    """A flood of addresses drops the ones that failed longest ago."""
    limiter = AddressLimiter(Rate(1, burst=1), clock=_Clock())
    for number in range(ADDRESSES_MAX + 10):
        limiter.failed(f"host {number}")
    assert len(limiter._arrivals) == ADDRESSES_MAX
    assert limiter.blocked("host 0") is None
    assert limiter.blocked(f"host {ADDRESSES_MAX + 9}") == 60
