"""One model of the catalog, as the gateway uses it."""

from dataclasses import dataclass
from datetime import date
from typing import Literal, TypeAlias

from gateway.catalog.price import Price
from gateway.contract import ModelRules

ReplyForm: TypeAlias = Literal["url", "base64"]


@dataclass(frozen=True, slots=True)
class Model:
    """A model that may be asked for: what it accepts, and what it costs in yuan."""

    rules: ModelRules
    provider: str
    price: Price
    images_advised: int
    """How many reference images are worth sending: told to callers, not enforced."""
    reply: ReplyForm
    """The form in which upstream is expected to send its images."""
    aliases: tuple[str, ...]
    retired_on: date | None
    """The first day on which the model is no longer offered."""
    enabled: bool
    note: str
    source: str
    """Where the price comes from."""
    checked_on: date | None
    """When somebody last looked there."""

    @property
    def name(self) -> str:
        """The catalog's own name of the model, and upstream's."""
        return self.rules.name

    def offered_on(self, day: date) -> bool:
        """Whether the model may be asked for on that day."""
        return self.enabled and (self.retired_on is None or day < self.retired_on)
