"""A cached reply as it is written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.replies import Entry
from gateway.replies.entry import entry_key


@given(st.text(st.characters(codec="utf-8")), st.integers(0, 2**62), st.integers(0, 2**62))
def test_read_as_written(text: str, stored_at: int, cost: int) -> None:
    """What was written is read as it was, lines and all."""
    entry = Entry(text, "gen_0123", stored_at, cost)
    assert Entry.read(entry.written()) == entry


@pytest.mark.parametrize("written", [b"", b"x", b"1 2\ntext", b"1 x gen\ntext", b"1 2 3 4\n", b"\xff 2 gen\n"])
def test_anything_else_is_no_entry(written: bytes) -> None:
    """What this did not write is refused."""
    with pytest.raises(ValueError, match=r".*"):
        Entry.read(written)


def test_age_is_never_negative() -> None:
    """The age is in whole seconds; a clock that is behind makes it 0."""
    entry = Entry("", "gen", 10_000, 0)
    assert [entry.age(now) for now in (10_000, 10_999, 11_000, 9_000)] == [0, 0, 1, 0]


def test_the_text_is_not_shown() -> None:
    """What a reply says is in no log line made of an entry."""
    assert "hidden" not in repr(Entry("hidden", "gen", 0, 0))


def test_one_tenant_one_node() -> None:
    """All places of a tenant have its id as their hash tag."""
    assert entry_key("t1", "ff") == "igw:replies:1:{t1}:ff"
