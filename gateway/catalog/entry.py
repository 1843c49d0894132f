"""The catalog file as TOML writes it. Unknown keys are refused, and amounts are decimal text, never floats."""

import re
from collections.abc import Mapping
from datetime import date
from decimal import Decimal, localcontext
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    StringConstraints,
    Tag,
    model_validator,
)

from gateway.catalog.model import Model, ReplyForm
from gateway.catalog.price import EXACT_DIGITS, FlatPrice, MegapixelPrice, Price, megapixels
from gateway.contract import MAX_REFERENCES, ModelRules

_AMOUNT = re.compile(r"(0|[1-9][0-9]{0,5})(\.[0-9]{1,9})?", re.ASCII)
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@-]{0,127}", re.ASCII)
"""What a model, an alias or a provider may be called: it stands in messages, logs and metrics."""

_LARGEST_SIDE = 100_000
_LARGEST_OUTPUT = 1_000_000_000


def _read_amount(value: object) -> Decimal:
    if not isinstance(value, str) or not _AMOUNT.fullmatch(value):
        raise ValueError('must be a decimal in quotes, such as "0.04", below 1000000 and with at most 9 decimals')
    return Decimal(value)


def read_rate(value: object) -> Decimal:
    """Read what one unit of a currency costs in yuan. Raises ValueError with what is wanted."""
    rate = _read_amount(value)
    if rate == 0:
        raise ValueError("must be more than 0")
    return rate


Amount: TypeAlias = Annotated[Decimal, BeforeValidator(_read_amount)]
Name: TypeAlias = Annotated[str, StringConstraints(pattern=rf"^{NAME.pattern}\z")]
Text: TypeAlias = Annotated[str, StringConstraints(max_length=2000)]
Option: TypeAlias = Literal[
    "aspect_ratio", "input_image", "width", "height", "seed", "safety_tolerance", "output_format"
]


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class FlatPriceEntry(_Entry):
    """`price = { image = "0.04", currency = "USD" }`."""

    image: Amount
    currency: str

    def in_yuan(self, rate: Decimal, _rules: ModelRules) -> FlatPrice:
        """Return the price at so many yuan for one unit of its currency."""
        with localcontext(prec=EXACT_DIGITS):
            return FlatPrice(self.image * rate)


class MegapixelPriceEntry(_Entry):
    """`price = { first_mp = "0.03", more_mp = "0.015", input_mp = "0.015", input_mp_max = 9, currency = "USD" }`."""

    first_mp: Amount
    more_mp: Amount
    input_mp: Amount
    input_mp_max: Annotated[int, Field(ge=0, le=1000)]
    currency: str

    def in_yuan(self, rate: Decimal, rules: ModelRules) -> MegapixelPrice:
        """Return the price at so many yuan for one unit of its currency, for the sizes that the rules allow."""
        largest = rules.pixels_max if rules.pixels_max != 0 else rules.side_max**2
        with localcontext(prec=EXACT_DIGITS):
            return MegapixelPrice(
                first_mp=self.first_mp * rate,
                more_mp=self.more_mp * rate,
                input_mp=self.input_mp * rate,
                input_mp_max=self.input_mp_max,
                output_mp_max=megapixels(largest),
            )


def _kind_of_price(value: Any) -> str:
    return "flat" if not isinstance(value, Mapping) or "image" in value else "megapixel"


PRICE_KINDS = frozenset({"flat", "megapixel"})
"""Names that stand in the place of a fault but not in the file."""


class ModelEntry(_Entry):
    """One table `[models."name"]`. Sizes are in pixels, 0 is no limit."""

    provider: Name
    accepts: list[Option]
    price: Annotated[
        Annotated[FlatPriceEntry, Tag("flat")] | Annotated[MegapixelPriceEntry, Tag("megapixel")],
        Discriminator(_kind_of_price),
    ]
    images_max: Annotated[int, Field(ge=0, le=MAX_REFERENCES)] = MAX_REFERENCES
    images_advised: Annotated[int, Field(ge=0, le=MAX_REFERENCES)] | None = None
    side_min: Annotated[int, Field(ge=0, le=_LARGEST_SIDE)] = 0
    side_max: Annotated[int, Field(ge=0, le=_LARGEST_SIDE)] = 0
    pixels_max: Annotated[int, Field(ge=0, le=_LARGEST_OUTPUT)] = 0
    multiple_of: Annotated[int, Field(ge=1, le=1024)] = 16
    prompt_chars_max: Annotated[int, Field(ge=1, le=10_000_000)] = 131_072
    reply: ReplyForm = "url"
    aliases: list[Name] = []
    retired_on: date | None = None
    enabled: bool = True
    note: Text = ""
    source: Text = ""
    checked_on: date | None = None

    @model_validator(mode="after")
    def _limits_leave_room(self) -> Self:
        if self.side_max != 0 and self.side_min > self.side_max:
            raise ValueError("side_min is more than side_max")
        if self.pixels_max != 0 and self.side_min**2 > self.pixels_max:
            raise ValueError("pixels_max is less than side_min × side_min")
        smallest = self._rules("").smallest_side
        if self.side_max != 0 and smallest > self.side_max:
            raise ValueError(f"side_min and side_max leave no side that is a multiple of {self.multiple_of}")
        if self.pixels_max != 0 and smallest**2 > self.pixels_max:
            raise ValueError(f"pixels_max is less than {smallest} × {smallest}, the smallest size")
        if self.images_advised is not None and self.images_advised > self.images_max:
            raise ValueError("images_advised is more than images_max")
        if isinstance(self.price, MegapixelPriceEntry) and self.pixels_max == 0 and self.side_max == 0:
            raise ValueError("a price by megapixel needs pixels_max or side_max, or the quote has no upper end")
        return self

    def as_model(self, name: str, rate: Decimal) -> Model:
        """Return the model of that name, its price at so many yuan for one unit of the price's currency."""
        rules = self._rules(name)
        price: Price = self.price.in_yuan(rate, rules)
        return Model(
            rules=rules,
            provider=self.provider,
            price=price,
            images_advised=self.images_max if self.images_advised is None else self.images_advised,
            reply=self.reply,
            aliases=tuple(self.aliases),
            retired_on=self.retired_on,
            enabled=self.enabled,
            note=self.note,
            source=self.source,
            checked_on=self.checked_on,
        )

    def _rules(self, name: str) -> ModelRules:
        return ModelRules(
            name=name,
            accepts=frozenset(self.accepts),
            images_max=self.images_max,
            side_min=self.side_min,
            side_max=self.side_max,
            pixels_max=self.pixels_max,
            multiple_of=self.multiple_of,
            prompt_chars_max=self.prompt_chars_max,
        )
