"""A key is unguessable, tells a typing error, and is stored as a digest."""

import re

from hypothesis import given
from hypothesis import strategies as st

from gateway.tenants.keys import Pepper, make_key, well_formed


def test_a_key_is_one_word_of_a_fixed_shape() -> None:
    """The prefix, 43 characters of chance and 6 that check them; no two are alike."""
    made = {make_key() for _ in range(1000)}
    assert len(made) == 1000
    assert all(re.fullmatch(r"igw_sk_[0-9A-Za-z]{49}", key) and well_formed(key) for key in made)


@given(st.integers(7, 55), st.sampled_from("0aZ"))
def test_a_damaged_key_is_told_by_its_check_sum(place: int, other: str) -> None:
    """One character changed makes it no key."""
    key = make_key()
    damaged = key[:place] + other + key[place + 1 :]
    assert well_formed(damaged) == (damaged == key)


def test_what_is_around_a_key_makes_it_none() -> None:
    """Nothing is stripped or cut."""
    key = make_key()
    assert not any(well_formed(wrong) for wrong in (f"{key}\n", f" {key}", key[:-1], key + "0", key.upper(), ""))


def test_digests_need_the_gateways_secret() -> None:
    """The same key has another digest under another secret, and every configured secret is looked under."""
    key = make_key()
    new, old, both = Pepper([b"new"]), Pepper([b"old"]), Pepper([b"new", b"old"])
    assert re.fullmatch(r"[0-9a-f]{64}", new.digest(key))
    assert new.digest(key) != old.digest(key)
    assert both.digest(key) == new.digest(key)
    assert both.digests(key) == [new.digest(key), old.digest(key)]
    assert key not in repr(both)
    assert "new" not in repr(both)
