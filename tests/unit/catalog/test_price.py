"""The quote: the most an ask may cost, exact and rounded up."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.catalog import FlatPrice, MegapixelPrice, load, parse
from gateway.contract import GenerateAsk, Reference, ReferenceBytes, ReferenceLink

DOLLARS = MegapixelPrice(
    first_mp=Decimal("0.03"),
    more_mp=Decimal("0.015"),
    input_mp=Decimal("0.015"),
    input_mp_max=9,
    output_mp_max=4,
)
"""FLUX.2 [pro] as its maker lists it, in a currency worth one yuan."""

LINK = ReferenceLink("https://example.com/a.png", own=False)


def _picture(width: int, height: int) -> ReferenceBytes:
    return ReferenceBytes("AAAA", "0" * 64, "image/png", 3, width, height)


def _quote(*references: Reference, width: int | None = None, height: int | None = None) -> int:
    slots = tuple(enumerate(references, start=1))
    return DOLLARS.quote(GenerateAsk("m", "p", width=width, height=height, references=slots))


@pytest.mark.parametrize(
    ("width", "height", "micros"),
    [
        (1024, 1024, 30_000),
        (64, 64, 30_000),
        (1040, 1024, 45_000),
        (1920, 1088, 45_000),
        (2048, 1024, 45_000),
        (2048, 2048, 75_000),
        (4096, 1024, 75_000),
        (None, None, 45_000),
        (512, None, 75_000),
        (None, 512, 75_000),
    ],
)
def test_output(width: int | None, height: int | None, micros: int) -> None:
    """Megapixels begun count whole; without a size two are assumed, with half of one the largest the model makes."""
    assert _quote(width=width, height=height) == micros


def test_references() -> None:
    """References cost by their own megapixels, together no more than the cap; a link of unknown size costs the cap."""
    one = _picture(1024, 1024)
    assert _quote(one, width=1024, height=1024) == 45_000
    assert _quote(*[one] * 8, width=1024, height=1024) == 150_000
    assert _quote(_picture(1, 1), width=1024, height=1024) == 45_000
    assert _quote(_picture(5000, 4000), width=2048, height=2048) == 210_000
    assert _quote(LINK, width=1024, height=1024) == 30_000 + 9 * 15_000
    assert _quote(one, LINK, LINK, width=1024, height=1024) == 30_000 + 9 * 15_000


def test_a_flat_price() -> None:
    """A flat price is the same for every ask, and what is finer than a micro-yuan is rounded up."""
    ask = GenerateAsk("m", "p", references=((1, LINK),))
    assert FlatPrice(Decimal("0.04")).quote(ask) == 40_000
    assert FlatPrice(Decimal("0.0000001")).quote(ask) == 1
    assert FlatPrice(Decimal("0.0400000000001")).quote(ask) == 40_001
    assert FlatPrice(Decimal(0)).quote(ask) == 0


def test_rounding_comes_last() -> None:
    """Amounts and rates are multiplied exactly, so that the smallest excess still rounds up."""
    content = b"""
        [rates]
        XAU = "999.000000001"
        [models.m]
        provider = "p"
        accepts = []
        price = { image = "1.000000001", currency = "XAU" }
    """
    (model,) = parse(content, "c.toml").models
    assert 999_000_000_001 * 1_000_000_001 == 999_000_001_000_000_000_001  # in 10⁻¹⁸ yuan
    assert model.price.most() == 999_000_002


def test_a_model_smaller_than_the_assumed_size() -> None:
    """An ask without a size is not quoted for more than the model makes."""
    small = MegapixelPrice(Decimal(1), Decimal(1), Decimal(0), input_mp_max=0, output_mp_max=1)
    assert small.quote(GenerateAsk("m", "p")) == 1_000_000


def test_the_shipped_quotes() -> None:
    """The shipped models are quoted at list price times rate, not at the document's example costs."""
    quotes = {model.name: model.price.quote(GenerateAsk(model.name, "p")) for model in load(None).models}
    assert quotes == {"flux-2-pro": 319_500, "flux-1.1-pro": 284_000, "gemini-2.5-flash-image": 319_500}


@given(
    st.none() | st.integers(1, 128).map(lambda sixteens: sixteens * 16),
    st.none() | st.integers(1, 128).map(lambda sixteens: sixteens * 16),
    st.lists(st.just(LINK) | st.builds(_picture, st.integers(1, 4096), st.integers(1, 4096)), max_size=8),
)
def test_no_quote_exceeds_the_most(width: int | None, height: int | None, references: list[Reference]) -> None:
    """No ask costs more than the most that the price admits to, and none less than its first megapixel."""
    assert 30_000 <= _quote(*references, width=width, height=height) <= DOLLARS.most() == 210_000
