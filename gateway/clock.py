"""Time: epoch milliseconds for what is stored, a monotonic clock for what is measured, local days for budgets."""

import time
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import TypeAlias
from zoneinfo import ZoneInfo

Millis: TypeAlias = int
"""Milliseconds since 1970-01-01T00:00:00Z."""


def now() -> Millis:
    """Return the wall-clock time. What is measured uses `time.monotonic`, never this."""
    return time.time_ns() // 1_000_000


def iso(moment: Millis) -> str:
    """Write a moment as RFC 3339 in UTC, to the second: `2026-11-22T08:00:00Z`."""
    return datetime.fromtimestamp(moment // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True, slots=True)
class Calendar:
    """Where a budget's day and month begin: at midnight of the configured time zone (GATEWAY_TIMEZONE)."""

    zone: ZoneInfo

    def day(self, moment: Millis) -> str:
        """Return the local day, `2026-11-22`."""
        return self.date(moment).isoformat()

    def date(self, moment: Millis) -> date:
        """Return the local day as a date."""
        return _date(self.zone, moment // 60_000)

    def next_day(self, moment: Millis) -> Millis:
        """Return when the local day after this moment's begins."""
        local = datetime.fromtimestamp(moment / 1000, self.zone)
        ordinal = local.date().toordinal() + 1
        return self._midnight(datetime.fromordinal(ordinal))

    def next_month(self, moment: Millis) -> Millis:
        """Return when the local month after this moment's begins."""
        local = datetime.fromtimestamp(moment / 1000, self.zone)
        year, month = divmod(local.year * 12 + local.month, 12)
        return self._midnight(datetime(year, month + 1, 1))  # noqa: DTZ001 -- the zone is added by _midnight

    def _midnight(self, date: datetime) -> Millis:
        return int(date.replace(tzinfo=self.zone).timestamp() * 1000)


@lru_cache(maxsize=64)  # every request asks several times for that of now
def _date(zone: ZoneInfo, minute: int) -> date:
    """Return the local day of a minute since 1970: since 1972 days begin on the full minute everywhere."""
    return datetime.fromtimestamp(minute * 60, zone).date()
