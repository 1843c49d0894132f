"""Days and moments as people write them."""

from datetime import UTC
from zoneinfo import ZoneInfo

import pytest

from gateway.moments import InvalidMoment, parse_day, parse_end, parse_moment, require_order

NOON = 1_795_348_800_000
"""2026-11-22T12:00:00Z."""
HOUR = 3_600_000
SHANGHAI = ZoneInfo("Asia/Shanghai")
"""Eight hours ahead of UTC."""


def test_a_day_is_a_day() -> None:
    """A day comes back as it is stored."""
    assert parse_day("2026-11-22") == "2026-11-22"


@pytest.mark.parametrize(
    "text", ["", "2026-02-30", "22.11.2026", "2026-11-22T08:00", "today", "2026-11", "2026-11-22 "]
)
def test_what_is_no_day_is_refused(text: str) -> None:
    """The text says what is wanted."""
    with pytest.raises(InvalidMoment, match="must be a day such as 2026-11-01"):
        parse_day(text)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-11-22", NOON - 20 * HOUR),
        ("2026-11-22T20:00", NOON),
        ("2026-11-22T12:00Z", NOON),
        ("2026-11-22T13:00+01:00", NOON),
    ],
)
def test_a_moment_is_in_the_zone_unless_it_says_otherwise(text: str, moment: int) -> None:
    """A day stands for its beginning, where budgets begin theirs."""
    assert parse_moment(text, SHANGHAI) == moment


@pytest.mark.parametrize("text", ["", "yesterday", "2026-13-01", "25:00", "1795348800"])
def test_what_is_no_moment_is_refused(text: str) -> None:
    """The text says what is wanted."""
    with pytest.raises(InvalidMoment, match="must be a day or a moment"):
        parse_moment(text, UTC)


@pytest.mark.parametrize(
    ("text", "end"),
    [
        ("90d", NOON + 90 * 24 * HOUR),
        ("12h", NOON + 12 * HOUR),
        ("30m", NOON + HOUR // 2),
        ("2026-11-23", NOON + 4 * HOUR),
        ("2026-11-23T00:00Z", NOON + 12 * HOUR),
    ],
)
def test_an_end_is_a_moment_or_a_time_from_now(text: str, end: int) -> None:
    """Days, hours and minutes count from now."""
    assert parse_end(text, NOON, SHANGHAI) == end


@pytest.mark.parametrize(
    "text", ["", "d", "-1d", "1.5d", "9" * 20 + "d", "9" * 5000 + "d", "9999999d", "1w", "٣d", "soon"]
)
def test_what_is_no_end_is_refused(text: str) -> None:
    """Too far away to be a date is refused like what cannot be read."""
    with pytest.raises(InvalidMoment, match="must be like 90d, 12h, 30m or 2027-01-31"):
        parse_end(text, NOON, SHANGHAI)


@pytest.mark.parametrize("text", ["0d", "2026-11-22T12:00Z", "2020-01-01"])
def test_an_end_lies_ahead(text: str) -> None:
    """What has ended already is refused."""
    with pytest.raises(InvalidMoment, match="must be in the future"):
        parse_end(text, NOON, SHANGHAI)


def test_a_period_ends_after_it_begins() -> None:
    """One day is a period; the text of a refusal says which day was the first."""
    require_order("2026-11-22", "2026-11-22")
    with pytest.raises(InvalidMoment, match="must not be before the first day, 2026-11-22"):
        require_order("2026-11-22", "2026-11-21")
