"""What client tokens have used of their caps: in each token's row, changed in the transaction that moves the money.

A token's row may be gone before the last of its generations is settled: then there is nobody left to cap.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, select, update

from gateway.database.prepared import ByKey, Many
from gateway.database.tables import tokens
from gateway.ledger.records import Capped, Caps, State
from gateway.money import Micros

_COUNTERS = ("spent", "held", "images_spent", "images_held")
_USED = ByKey(select(tokens.c.id, *(tokens.c[name] for name in _COUNTERS)), (tokens.c.id,))
_ADD = Many(
    update(tokens)
    .where(tokens.c.id == bindparam("token"))
    .values({name: tokens.c[name] + bindparam(f"more_{name}") for name in _COUNTERS}),
    ("token", *(f"more_{name}" for name in _COUNTERS)),
)


@dataclass(frozen=True, slots=True)
class Used:
    """What a token has used and holds, or by how much that changes."""

    spent: Micros = 0
    held: Micros = 0
    images_spent: int = 0
    images_held: int = 0

    def __add__(self, more: "Used") -> "Used":
        return Used(
            self.spent + more.spent,
            self.held + more.held,
            self.images_spent + more.images_spent,
            self.images_held + more.images_held,
        )


def capped(caps: Caps, used: Used | None, quote: Micros, asked: int) -> Capped | None:
    """Return the cap into which so many images at this quote do not fit; a token without a row may do nothing."""
    if used is None:
        return Capped("images", 0, 0)
    images, cost = used.images_spent + used.images_held, used.spent + used.held
    if caps.images is not None and images + asked > caps.images:
        return Capped("images", caps.images, max(0, caps.images - images))
    if caps.cost is not None and cost + quote > caps.cost:
        return Capped("cost", caps.cost, max(0, caps.cost - cost))
    return None


def images_of(state: State, kind: str | None, asked: int, images: int | None) -> Used:
    """Return how a generation counts against a cap of images: what was asked for, or came, unless it was free.

    `kind` is the bill's. An end that was paid without an image, or decided by hand, has used what it was let in for.
    One that asked for none never counts.
    """
    if asked == 0:
        return Used()
    if state in ("reserved", "unknown"):
        return Used(images_held=asked)
    if state == "released" or kind == "free":
        return Used()
    return Used(images_spent=asked if images is None else max(asked, images))


def read_used(connection: Connection, ids: Iterable[str]) -> dict[str, Used]:
    """Read what tokens have used; one that is gone is not in the answer."""
    found = _USED.fetch(connection, sorted({(token,) for token in ids}))
    return {token: Used(*counters) for token, *counters in found}


def add_used(connection: Connection, changes: Mapping[str, Used]) -> None:
    """Add to what tokens have used, in one order everywhere."""
    rows = [
        {"token": token, **{f"more_{name}": getattr(more, name) for name in _COUNTERS}}
        for token, more in sorted(changes.items())
        if more != Used()
    ]
    _ADD.run(connection, rows)
