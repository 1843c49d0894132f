"""Days and moments as people write them, for the command line and the API alike."""

from datetime import UTC, date, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from gateway.clock import Millis

_UNITS = {"d": timedelta(days=1), "h": timedelta(hours=1), "m": timedelta(minutes=1)}


class InvalidMoment(ValueError):
    """A day or moment that a person wrote is not one; the text says what is wanted."""


def parse_day(text: str) -> str:
    """Read a day, `2026-11-01`. Raises InvalidMoment."""
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError as error:
        raise InvalidMoment("must be a day such as 2026-11-01") from error


def parse_zone(text: str) -> ZoneInfo:
    """Read a time zone, `Asia/Shanghai`. Raises InvalidMoment."""
    try:
        return ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:  # the last for what is a directory there
        raise InvalidMoment("must be a time zone such as Asia/Shanghai") from error


def require_order(first: str, last: str) -> None:
    """Refuse a period that ends before it begins; both are days as `parse_day` returns them. Raises InvalidMoment."""
    if last < first:
        raise InvalidMoment(f"must not be before the first day, {first}")


def parse_moment(text: str, zone: tzinfo) -> Millis:
    """Read a day or a moment, `2026-11-22` or `2026-11-22T08:00Z`; in `zone` unless it says otherwise.

    A day stands for its beginning. Raises InvalidMoment.
    """
    try:
        return _millis(datetime.fromisoformat(text), zone)
    except (ValueError, OverflowError) as error:
        raise InvalidMoment("must be a day or a moment such as 2026-11-22T08:00Z") from error


def parse_end(text: str, now: Millis, zone: tzinfo) -> Millis:
    """Read when something ends: a moment, in `zone`, or a time from now, `90d`, `12h`, `30m`. Raises InvalidMoment."""
    number, unit = text[:-1], text[-1:]
    try:
        if unit in _UNITS and number.isascii() and number.isdigit():
            end = now + int(number) * _UNITS[unit] // timedelta(milliseconds=1)
            datetime.fromtimestamp(end / 1000, UTC)  # whatever is shown later has to be a date
        else:
            end = _millis(datetime.fromisoformat(text), zone)
    except (ValueError, OverflowError, OSError) as error:
        raise InvalidMoment("must be like 90d, 12h, 30m or 2027-01-31") from error
    if end <= now:
        raise InvalidMoment("must be in the future")
    return end


def _millis(moment: datetime, zone: tzinfo) -> Millis:
    return int((moment if moment.tzinfo is not None else moment.replace(tzinfo=zone)).timestamp() * 1000)
