"""Identifiers are unguessable, in order, and cannot forge a log line."""

import re
import time

import pytest

from gateway.ids import new_id, request_id


def test_an_id_names_its_kind_and_has_a_fixed_shape() -> None:
    """The kind, then 48 bits of time and 80 of chance."""
    assert re.fullmatch(r"gen_[0-9a-f]{32}", new_id("gen"))


def test_ids_differ_and_sort_by_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A later millisecond sorts later; within one, all differ."""
    assert len({new_id("gen") for _ in range(1000)}) == 1000
    made = []
    for moment in (0, 1, 31, 32, 1_800_000_000_000, 281_474_976_710_655):
        monkeypatch.setattr(time, "time_ns", lambda moment=moment: moment * 1_000_000)
        made.append(new_id("gen"))
    assert made == sorted(made)
    assert made[0].startswith("gen_000000000000")
    assert made[-1].startswith("gen_ffffffffffff")


@pytest.mark.parametrize("offered", ["a", "trace-1.2:3_4", "A" * 128])
def test_a_plain_request_id_is_kept(offered: str) -> None:
    """What the caller calls a request, the log calls it too."""
    assert request_id(offered) == offered


@pytest.mark.parametrize("offered", [None, "", "-a", "a b", "a\nb", "a\n", "A" * 129, "é", "a/b", '"'])
def test_any_other_request_id_is_replaced(offered: str | None) -> None:
    """Long, blank or strange ids are not taken over."""
    assert re.fullmatch(r"req_[0-9a-f]{32}", request_id(offered))
