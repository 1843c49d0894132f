"""A tenant's budget and a token's caps, as the ledger wants them, and the words of a refusal."""

from datetime import datetime

from gateway.clock import Calendar, Millis
from gateway.errors import OverBudget
from gateway.ledger.records import Budget, Capped, Caps, Exhausted, Reservation
from gateway.money import format_yuan
from gateway.tenants.directory import Caller
from gateway.tenants.policy import Policy

_NAMES = {"day": "daily", "month": "monthly", "total": "total"}


def budget_of(policy: Policy) -> Budget:
    """Return the windows that a policy limits."""
    return Budget(policy.budget_day, policy.budget_month, policy.budget_total)


def caps_of(caller: Caller) -> Caps | None:
    """Return the caps of the client token that asks, if it is one."""
    token = caller.token
    return None if token is None else Caps(token.id, token.policy.max_images, token.policy.max_cost)


def over_budget(exhausted: Exhausted | Capped, asked: Reservation, calendar: Calendar) -> OverBudget:
    """Name the window or the cap, what is left of it, what was asked for, and when it begins anew."""
    if isinstance(exhausted, Capped):
        return OverBudget(_over_cap(exhausted, asked))
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


def _over_cap(capped: Capped, asked: Reservation) -> str:
    if capped.cap == "images":
        return f"The client token is good for {capped.limit} images, and {capped.left} are left"
    return (
        f"The client token is good for {format_yuan(capped.limit)} yuan: "
        f"{format_yuan(capped.left)} left, this request may cost {format_yuan(asked.quote)}"
    )


def _local(moment: Millis, calendar: Calendar) -> str:
    return datetime.fromtimestamp(moment / 1000, calendar.zone).isoformat(timespec="seconds")
