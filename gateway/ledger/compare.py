"""An upstream statement beside the ledger, by day and model: what upstream bills and what was settled.

A generation is on the day of its reservation, which is when upstream was asked.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, Connection, func, not_, select

from gateway.clock import Calendar
from gateway.database.tables import generations
from gateway.ledger.find import is_repeat
from gateway.ledger.invoice import Billed, DayAndModel
from gateway.moments import parse_moment
from gateway.money import MICROS_PER_YUAN, Micros, format_yuan


@dataclass(frozen=True, slots=True)
class Booked:
    """What the ledger says of a day and model; an unknown generation may be one that upstream bills."""

    count: int = 0
    cost: Micros = 0
    unknown: int = 0
    unknown_cost: Micros = 0

    @property
    def yuan(self) -> Decimal:
        """The cost as the invoice has it."""
        return Decimal(self.cost) / MICROS_PER_YUAN


@dataclass(frozen=True, slots=True)
class Difference:
    """A day and model of which upstream and the ledger say different things; None is a side that says nothing."""

    day: str
    model: str
    billed: Billed | None
    booked: Booked | None

    def shown(self) -> dict[str, Any]:
        """Return it as JSON has it; the difference is the invoice less the ledger."""
        billed = Billed() if self.billed is None else self.billed
        booked = Booked() if self.booked is None else self.booked
        return {
            "day": self.day,
            "model": self.model,
            "invoice_count": None if self.billed is None else billed.count,
            "ledger_count": None if self.booked is None else booked.count,
            "invoice_yuan": None if self.billed is None else write_yuan(billed.yuan),
            "ledger_yuan": None if self.booked is None else format_yuan(booked.cost),
            "difference_yuan": write_yuan(billed.yuan - booked.yuan),
            "unknown": booked.unknown,
            "unknown_yuan": format_yuan(booked.unknown_cost),
        }


_SETTLED = (generations.c.state == "settled") & not_(is_repeat())
_UNKNOWN = generations.c.state == "unknown"
_FIGURES = (
    select(
        generations.c.model,
        func.count().filter(_SETTLED),
        func.coalesce(func.sum(generations.c.cost).filter(_SETTLED), 0),
        func.count().filter(_UNKNOWN),
        func.coalesce(func.sum(generations.c.quote).filter(_UNKNOWN), 0),
    )
    .where(_SETTLED | _UNKNOWN)
    .group_by(generations.c.model)
)


def booked_on(connection: Connection, days: Sequence[str], zone: ZoneInfo | None) -> Mapping[DayAndModel, Booked]:
    """Add up what was reserved on these days of `zone`; None is the zone of the ledger itself."""
    found: dict[DayAndModel, Booked] = {}
    for day in days:
        chosen = generations.c.day == day if zone is None else _within(day, zone)
        for model, *figures in connection.execute(_FIGURES.where(chosen)):
            found[day, model] = Booked(*map(int, figures))
    return found


def differences(billed: Mapping[DayAndModel, Billed], booked: Mapping[DayAndModel, Booked]) -> Iterator[Difference]:
    """Yield what differs in count or cost, by day and model; a side that says nothing says none and nothing."""
    for key in sorted(billed.keys() | booked.keys()):
        theirs, ours = billed.get(key), booked.get(key)
        if not _agree(Billed() if theirs is None else theirs, Booked() if ours is None else ours):
            yield Difference(*key, theirs, ours)


def days_between(first: str, last: str) -> list[str]:
    """Return the days from one to another, both included."""
    begins = date.fromisoformat(first)
    return [(begins + timedelta(days=n)).isoformat() for n in range((date.fromisoformat(last) - begins).days + 1)]


def write_yuan(amount: Decimal) -> str:
    """Write an amount with six decimals, or with as many as it has."""
    return f"{amount:.6f}" if amount * MICROS_PER_YUAN % 1 == 0 else f"{amount.normalize():f}"


def _within(day: str, zone: ZoneInfo) -> ColumnElement[bool]:
    """Choose a day of another zone. It lies within five of the ledger's, which an index finds."""
    begins = parse_moment(day, zone)
    around = [(date.fromisoformat(day) + timedelta(days=shift)).isoformat() for shift in range(-2, 3)]
    row = generations.c
    return row.day.in_(around) & (row.created_at >= begins) & (row.created_at < Calendar(zone).next_day(begins))


def _agree(billed: Billed, booked: Booked) -> bool:
    """Say whether the two are the same; the ledger rounds a cost that is finer than a micro-yuan up, each by itself."""
    over = booked.cost - billed.yuan * MICROS_PER_YUAN
    return billed.count == booked.count and (over == 0 or (billed.finer and 0 <= over < booked.count))
