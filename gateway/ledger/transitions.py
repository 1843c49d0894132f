"""Which change of state is legal, and what it does to the balances. Pure: `reserve.py` and `settle.py` act."""

from collections.abc import Mapping
from dataclasses import dataclass

from gateway.ledger.bill import Bill
from gateway.ledger.records import Budget, Exhausted, Period, State
from gateway.money import Micros


@dataclass(frozen=True, slots=True)
class Balance:
    """What a scope spent and holds in one window."""

    spent: Micros = 0
    held: Micros = 0


@dataclass(frozen=True, slots=True)
class Change:
    """The new state of a generation, and what it adds to the balances of the windows that held it."""

    state: State
    spent: Micros
    held: Micros


def refusal(budget: Budget, balances: Mapping[Period, Balance], quote: Micros) -> Exhausted | None:
    """Return the first window into which the quote does not fit: `spent + held + quote` would pass the limit."""
    for period, limit in budget.limits().items():
        balance = balances[period]
        if balance.spent + balance.held + quote > limit:
            return Exhausted(period, limit, max(0, limit - balance.spent - balance.held))
    return None


def settle(
    state: State, quote: Micros, cost: Micros | None, kind: str | None, bill: Bill, *, by_hand: bool = False
) -> Change | None:
    """Settle or release a generation that is in `state` with this quote, cost and kind of bill; None changes nothing.

    1. Held (reserved or unknown): the bill replaces the hold.
    2. Ended by hand (an operator, or because it was unknown for too long): upstream's late answer is the truth.
    3. Ended by an answer: upstream's own figure corrects a bill that was not exact.
    4. Anything else is a repeat.
    """
    ended: State = "released" if bill.kind == "free" else "settled"
    if state in ("reserved", "unknown"):
        return Change(ended, bill.cost, -quote)
    if by_hand or (bill.kind == "exact" and kind != "exact"):
        return Change(ended, bill.cost - (0 if cost is None else cost), 0)
    return None
