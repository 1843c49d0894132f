"""What is limited."""

import pytest

from gateway.limits import Rate, Scope
from gateway.limits.policy import PER_MINUTE_MAX, EntryCharge, RateCharge, entry_charges, record_key, request_charges


@pytest.mark.parametrize(
    ("per_minute", "burst"), [(0, None), (-1, None), (PER_MINUTE_MAX + 1, None), (5, 0), (5, 1_000_001)]
)
def test_impossible_rate(per_minute: int, burst: int | None) -> None:
    """A rate that admits nothing, or more than can be counted, is refused."""
    with pytest.raises(ValueError, match="must be"):
        Rate(per_minute, burst)


def test_interval_never_exceeds_the_limit() -> None:
    """The interval is whole microseconds, rounded against the tenant, by less than 2 %."""
    for per_minute in (1, 7, 59, 61, 999, 123_457, PER_MINUTE_MAX):
        interval = Rate(per_minute).interval
        assert 60_000_000 <= interval * per_minute < 60_000_000 * 1.02


def test_bad_scope() -> None:
    """An id that would break the hash tag, or a place limit of none, is refused."""
    with pytest.raises(ValueError, match="hash tag"):
        Scope("a}b", "a")
    with pytest.raises(ValueError, match="at least 1"):
        Scope("a", "a", concurrency=0)


def test_charges_name_scope_and_share_a_slot() -> None:
    """Tenant and key are charged under names and keys of their own, all in the tenant's hash tag."""
    team = Scope("ten_1", "acme", Rate(1), Rate(2), 3)
    key = Scope("key_1", "", Rate(4), Rate(5), 6, shadow=True, kind="key")
    charges = (*request_charges((team, key)), *entry_charges((team, key), 2))
    assert [charge.name for charge in charges] == [
        "requests",
        "key-requests",
        "images",
        "concurrency",
        "key-images",
        "key-concurrency",
    ]
    assert [charge.enforced for charge in charges] == [True, False, True, True, False, False]
    keys = {charge.key for charge in charges} | {record_key((team,), "take", "x"), record_key((team,), "enter", "x")}
    assert len(keys) == 8
    assert all("{ten_1}" in one for one in keys)


def test_unlimited_is_not_charged() -> None:
    """Where there is no limit there is nothing to charge."""
    assert request_charges((Scope("t", "t"),)) == ()
    assert entry_charges((Scope("t", "t", requests=Rate(1)), Scope("k", "", kind="key")), 3) == ()


def test_shares() -> None:
    """One process's share of places and of a burst rounds up."""
    assert EntryCharge("concurrency", "k", 10, enforced=True, processes=3).places == 4
    share = RateCharge("requests", "k", Rate(10), 1, enforced=True, processes=3)
    assert share.depth // share.interval == 4
