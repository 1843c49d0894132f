"""A tenant's budget, as the ledger wants it, and the words in which an exhausted one is refused."""

from datetime import datetime

from gateway.clock import Calendar, Millis
from gateway.errors import OverBudget
from gateway.ledger.records import Budget, Exhausted, Reservation
from gateway.money import format_yuan
from gateway.tenants.policy import Policy

_NAMES = {"day": "daily", "month": "monthly", "total": "total"}


def budget_of(policy: Policy) -> Budget:
    """Return the windows that a policy limits."""
    return Budget(policy.budget_day, policy.budget_month, policy.budget_total)


def over_budget(exhausted: Exhausted, asked: Reservation, calendar: Calendar) -> OverBudget:
    """Name the window, what is left of it, what was asked for, and when it begins anew."""
    text = (
        f"The {_NAMES[exhausted.period]} budget of {format_yuan(exhausted.limit)} yuan is exhausted: "
        f"{format_yuan(exhausted.left)} left, this request may cost {format_yuan(asked.quote)}. "
    )
    match exhausted.period:
        case "day":
            text += f"It resets at {_local(calendar.next_day(asked.created_at), calendar)}"
        case "month":
            text += f"It resets at {_local(calendar.next_month(asked.created_at), calendar)}"
        case "total":
            text += "It does not reset"
    return OverBudget(text)


def _local(moment: Millis, calendar: Calendar) -> str:
    return datetime.fromtimestamp(moment / 1000, calendar.zone).isoformat(timespec="seconds")
