"""Days begin at midnight of the configured zone."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.clock import Calendar, iso, now

SHANGHAI = Calendar(ZoneInfo("Asia/Shanghai"))
ZONES = ("Asia/Shanghai", "UTC", "Europe/Berlin", "America/St_Johns", "Asia/Kathmandu")


def millis(text: str) -> int:
    """Return a moment in milliseconds."""
    return int(datetime.fromisoformat(text).timestamp() * 1000)


def test_a_moment_is_written_in_utc_to_the_second() -> None:
    """RFC 3339 with Z; the fraction is cut."""
    assert iso(millis("2026-11-22T16:00:00.999+08:00")) == "2026-11-22T08:00:00Z"


def test_the_wall_clock_is_in_milliseconds() -> None:
    """Now is between two readings of another clock."""
    before = datetime.now().timestamp()  # noqa: DTZ005 -- a timestamp has no zone
    assert int(before * 1000) - 1 <= now() <= int(datetime.now().timestamp() * 1000) + 1  # noqa: DTZ005 -- the same


@pytest.mark.parametrize(
    ("moment", "day", "next_day", "next_month"),
    [
        ("2026-11-30T23:59:59.999+08:00", "2026-11-30", "2026-12-01T00:00+08:00", "2026-12-01T00:00+08:00"),
        ("2026-12-01T00:00:00+08:00", "2026-12-01", "2026-12-02T00:00+08:00", "2027-01-01T00:00+08:00"),
        ("2028-02-28T12:00:00+08:00", "2028-02-28", "2028-02-29T00:00+08:00", "2028-03-01T00:00+08:00"),
        ("2026-11-21T16:00:00+00:00", "2026-11-22", "2026-11-23T00:00+08:00", "2026-12-01T00:00+08:00"),
    ],
)
def test_days_and_months_turn_at_local_midnight(moment: str, day: str, next_day: str, next_month: str) -> None:
    """The last millisecond of a day belongs to it, the first of the next does not."""
    at = millis(moment)
    assert SHANGHAI.day(at) == day
    assert SHANGHAI.next_day(at) == millis(next_day)
    assert SHANGHAI.next_month(at) == millis(next_month)


def test_a_day_may_have_23_or_25_hours() -> None:
    """Where clocks are turned, the next day begins at its own midnight all the same."""
    berlin = Calendar(ZoneInfo("Europe/Berlin"))
    for start, hours in (("2026-03-29T00:00+01:00", 23), ("2026-10-25T00:00+02:00", 25)):
        assert berlin.next_day(millis(start)) - millis(start) == hours * 3_600_000


@given(st.integers(0, 4_000_000_000_000), st.sampled_from(ZONES))
def test_the_next_day_is_another_day_and_the_moment_before_is_not(moment: int, zone: str) -> None:
    """Midnight is the first moment of the next day."""
    calendar = Calendar(ZoneInfo(zone))
    midnight = calendar.next_day(moment)
    assert moment < midnight
    assert calendar.day(midnight - 1) == calendar.day(moment) != calendar.day(midnight)
    assert calendar.next_month(moment) >= midnight
    assert calendar.day(calendar.next_month(moment)).endswith("-01")
