"""What an ask may cost at the most, by the price of its model.

Amounts are yuan as exact decimals; only the quote is rounded, up to a micro-yuan.
"""

from dataclasses import dataclass
from decimal import Decimal, localcontext
from functools import lru_cache
from typing import TypeAlias

from gateway.contract import GenerateAsk, ReferenceBytes
from gateway.money import Micros, from_decimal

PIXELS_PER_MEGAPIXEL = 1_048_576
"""1024 × 1024: the provider's "4MP" is 2048 × 2048."""

UNSIZED_MEGAPIXELS = 2
"""The ceiling for an ask without a size: one megapixel is usual, and how upstream sizes the ratios is not known."""

EXACT_DIGITS = 60
"""More than any product of the amounts, rates and counts that a catalog may hold needs."""


@dataclass(frozen=True, slots=True)
class FlatPrice:
    """One price for each image."""

    image: Decimal

    def quote(self, ask: GenerateAsk) -> Micros:  # noqa: ARG002 -- every price is asked the same way
        """Return the most that `ask` may cost."""
        return self.most()

    def most(self) -> Micros:
        """Return the most that any ask may cost."""
        with localcontext(prec=EXACT_DIGITS):
            return from_decimal(self.image)


@dataclass(frozen=True, slots=True)
class MegapixelPrice:
    """A price by size: each megapixel begun counts whole, of the image made and of the images it is made from."""

    first_mp: Decimal
    more_mp: Decimal
    """Each megapixel of output after the first."""
    input_mp: Decimal
    """Each megapixel of a reference image."""
    input_mp_max: int
    """All reference images together are made no larger than this many megapixels."""
    output_mp_max: int
    """The largest image the model makes."""

    def quote(self, ask: GenerateAsk) -> Micros:
        """Return the most that `ask` may cost."""
        return _cost(self, self._output_mp(ask), self._input_mp(ask))

    def most(self) -> Micros:
        """Return the most that any ask may cost."""
        return _cost(self, self.output_mp_max, self.input_mp_max)

    def _output_mp(self, ask: GenerateAsk) -> int:
        if ask.width is not None and ask.height is not None:
            return megapixels(ask.width * ask.height)
        if ask.width is None and ask.height is None:
            return min(UNSIZED_MEGAPIXELS, self.output_mp_max)
        return self.output_mp_max  # what upstream makes of the missing side is not known

    def _input_mp(self, ask: GenerateAsk) -> int:
        total = 0
        for _, reference in ask.references:
            if not isinstance(reference, ReferenceBytes):
                return self.input_mp_max  # the size of what a link leads to is not known
            total += megapixels(reference.width * reference.height)
        return min(total, self.input_mp_max)


@lru_cache(maxsize=1024)  # there are few sizes; exact decimals would take a hundredth of a busy core
def _cost(price: MegapixelPrice, output_mp: int, input_mp: int) -> Micros:
    with localcontext(prec=EXACT_DIGITS):
        return from_decimal(price.first_mp + price.more_mp * (output_mp - 1) + price.input_mp * input_mp)


Price: TypeAlias = FlatPrice | MegapixelPrice


def megapixels(pixels: int) -> int:
    """Return how many megapixels are begun by so many pixels."""
    return -(-pixels // PIXELS_PER_MEGAPIXEL)
