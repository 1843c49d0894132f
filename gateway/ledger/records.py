"""What the ledger is told and what it says."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias

from gateway.clock import Millis
from gateway.ledger.bill import Bill
from gateway.money import Micros

Period: TypeAlias = Literal["day", "month", "total"]
State: TypeAlias = Literal["reserved", "settled", "released", "unknown"]

STATES: tuple[State, ...] = ("reserved", "settled", "released", "unknown")
PERIODS: tuple[Period, ...] = ("day", "month", "total")
WITHOUT_WORDS = "{}"
"""What stands where words of a caller's stood, when they are erased."""


def window_starts(day: str) -> dict[Period, str]:
    """Return the start of each window that a local day lies in, as `balances.start` has it."""
    return {"day": day, "month": day[:7], "total": ""}


@dataclass(frozen=True, slots=True)
class Budget:
    """The most a tenant may spend in each window; None is no limit."""

    day: Micros | None = None
    month: Micros | None = None
    total: Micros | None = None

    def limits(self) -> dict[Period, Micros]:
        """Return the limits that there are."""
        named: dict[Period, Micros | None] = {"day": self.day, "month": self.month, "total": self.total}
        return {period: limit for period, limit in named.items() if limit is not None}


@dataclass(frozen=True, slots=True)
class Caps:
    """The most that a client token may use up in its life; None is no limit."""

    token_id: str
    images: int | None = None
    cost: Micros | None = None


@dataclass(frozen=True, slots=True)
class Reservation:
    """A generation about to be sent: who pays, the most it may cost, and what is to be remembered of it."""

    id: str
    tenant_id: str
    key_id: str
    request_id: str
    model: str
    provider: str
    quote: Micros
    ask: str = field(repr=False)
    fingerprint: str
    budget: Budget
    created_at: Millis
    day: str
    idempotency_key: str | None = None
    images: int = 1
    """How many are asked for: none by a row that only waits for another generation's answer."""
    caps: Caps | None = None
    """Of the client token that asks, if it is one."""
    end_user: str | None = None
    announced: bool = False
    """Whether its end is told by webhook."""


@dataclass(frozen=True, slots=True)
class Admitted:
    """The reservation is durable."""


@dataclass(frozen=True, slots=True)
class Exhausted:
    """The quote does not fit into what is left of a window."""

    period: Period
    limit: Micros
    left: Micros


@dataclass(frozen=True, slots=True)
class Capped:
    """A client token's cap does not take one more: a number of images, or micro-yuan."""

    cap: Literal["images", "cost"]
    limit: int
    left: int


@dataclass(frozen=True, slots=True)
class Duplicate:
    """The tenant's idempotency key belongs to this generation."""

    generation_id: str


Admission: TypeAlias = Admitted | Exhausted | Capped | Duplicate


class ImageRecord(Protocol):
    """What is remembered of a kept image."""

    @property
    def name(self) -> str:
        """Its name in the store."""

    @property
    def media_type(self) -> str:
        """Its type, from its bytes."""

    @property
    def size(self) -> int:
        """Its size in bytes."""

    @property
    def width(self) -> int:
        """Its width in pixels."""

    @property
    def height(self) -> int:
        """Its height in pixels."""

    @property
    def sha256(self) -> str:
        """The digest of its bytes, in hex."""


@dataclass(frozen=True, slots=True)
class Settlement:
    """How a generation ended. A *free* bill releases it; any other settles it."""

    id: str
    tenant_id: str
    bill: Bill
    settled_at: Millis
    answered_model: str | None = None
    provider: str | None = None
    account: str | None = None
    images_generated: int = 0
    images_failed: int = 0
    images: Sequence[ImageRecord] = ()
    reply: str | None = None
    failure: str | None = None
    error: str | None = None
    """What the caller was told where there is no reply, as JSON: for a repeat of the same idempotency key."""
    frees_key: bool = False
    """Whether the idempotency key may be used again: the failure is one that may be tried again."""
    of: str | None = None
    """The generation whose answer this is, if another's was."""


@dataclass(frozen=True, slots=True)
class Abandonment:
    """A generation whose outcome is not known: its hold stays until a late answer or an operator settles it."""

    id: str
    tenant_id: str
    failure: str
    account: str | None = None


@dataclass(frozen=True, slots=True)
class Repeat:
    """A request with an idempotency key that was answered from another generation: a row that cost nothing."""

    reservation: Reservation
    reply: str | None = None
    error: str | None = None
    of: str | None = None
    """That generation."""
