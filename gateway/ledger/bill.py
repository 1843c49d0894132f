"""What a generation cost. The ledger, the budgets and the cost counter all take their figure from this one value."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Literal, TypeAlias

from gateway.money import Micros, from_decimal

BillKind: TypeAlias = Literal["exact", "quoted", "unknown", "free"]

ABSURD = 100
"""A cost above this many quotes is taken for a mistake of upstream's."""


@dataclass(frozen=True, slots=True)
class Bill:
    """`kind` says where the cost comes from: *exact* is upstream's own figure, *quoted* ours because it named no usable
    one, *free* a refusal before any work."""

    kind: BillKind
    cost: Micros
    alarming: bool = False
    """Upstream did the work and named no cost that could be one."""


FREE = Bill("free", 0)


def bill_for(cost: Decimal | None, quote: Micros) -> Bill:
    """Bill work that upstream did: at its cost if that is a number in [0, 100 quotes], else at the quote."""
    if cost is None or not cost.is_finite() or cost < 0:
        return Bill("quoted", quote, alarming=True)
    # Compared as decimals first: 1e999999 is not turned into an integer.
    if cost > Decimal(ABSURD * quote) / 1_000_000:
        return Bill("quoted", quote, alarming=True)
    return Bill("exact", from_decimal(cost))
