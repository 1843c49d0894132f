"""The catalog file: every fault at once, each with file, entry and what is wanted."""

from pathlib import Path
from typing import get_args

import pytest

from gateway.catalog import Catalog, CatalogFault, FlatPrice, MegapixelPrice, load, parse
from gateway.catalog.entry import Option
from gateway.contract import OPTIONS

SMALL = """
[models.m]
provider = "p"
accepts = ["seed"]
price = { image = "0.04", currency = "CNY" }
"""

NAMES = "must begin with a letter or digit and hold at most 128 of A-Z a-z 0-9 . _ : / @ -"
DECIMALS = 'must be a decimal in quotes, such as "0.04", below 1000000 and with at most 9 decimals'
CHOICES = (
    "input should be 'aspect_ratio', 'input_image', 'width', 'height', 'seed', 'safety_tolerance' or 'output_format'"
)


def _faults(content: str | bytes) -> list[str]:
    with pytest.raises(CatalogFault) as refused:
        parse(content.encode() if isinstance(content, str) else content, "c.toml")
    return refused.value.faults


def _with(lines: str = "", *, price: str = '{ image = "0.04", currency = "CNY" }', rates: str = "") -> str:
    return f'[rates]\n{rates}\n[models.m]\nprovider = "p"\naccepts = []\nprice = {price}\n{lines}\n'


def test_the_shipped_catalog() -> None:
    """The shipped catalog is without fault, offers the documented models and says where each price comes from."""
    catalog = load(None)
    assert [model.name for model in catalog.models] == ["flux-2-pro", "flux-1.1-pro", "gemini-2.5-flash-image"]
    assert all(model.source and model.checked_on and model.enabled for model in catalog.models)
    flux, flux_1, gemini = catalog.models
    assert isinstance(flux.price, MegapixelPrice)
    assert isinstance(flux_1.price, FlatPrice)
    assert flux.rules.accepts == flux_1.rules.accepts == set(OPTIONS)
    assert gemini.rules.accepts == {"aspect_ratio", "input_image"}
    assert (flux.reply, gemini.reply) == ("url", "base64")
    assert (flux.images_advised, gemini.images_advised) == (6, 3)


def test_a_small_catalog() -> None:
    """Provider, options and price are enough: the rest is the document's own limits."""
    (model,) = parse(SMALL.encode(), "c.toml").models
    assert (model.name, model.provider, model.reply, model.enabled) == ("m", "p", "url", True)
    assert (model.rules.images_max, model.rules.multiple_of, model.rules.prompt_chars_max) == (8, 16, 131_072)


def test_a_file_is_read(tmp_path: Path) -> None:
    """A file of one's own takes the place of the shipped catalog as a whole."""
    path = tmp_path / "catalog.toml"
    path.write_text(SMALL)
    assert [model.name for model in load(path).models] == ["m"]


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """A file that cannot be read is a fault that names it."""
    with pytest.raises(CatalogFault) as refused:
        load(tmp_path / "none.toml")
    assert refused.value.faults == [f"{tmp_path}/none.toml: cannot be read: No such file or directory"]


def test_every_fault_at_once() -> None:
    """All faults of all entries are reported together, each with its place in the file."""
    faults = _faults("""
        extra = 1
        [rates]
        USD = "0"
        [models."a b"]
        provider = "p"
        [models.one]
        provider = "p"
        accepts = ["seed", "n"]
        price = { image = 0.04, currency = "USD" }
        widht = 3
        [models.two]
        provider = "p"
        accepts = ["seed"]
        price = { image = "1", currency = "EUR" }
        aliases = ["one"]
    """)
    assert faults == [
        'c.toml: "extra": is no key of the catalog',
        'c.toml: rates."USD": must be more than 0',
        f'c.toml: models."a b": the name {NAMES}',
        'c.toml: models."a b".accepts: is missing',
        'c.toml: models."a b".price: is missing',
        f'c.toml: models."one".accepts[1]: {CHOICES}',
        f'c.toml: models."one".price.image: {DECIMALS}',
        'c.toml: models."one".widht: is no key of the catalog',
        'c.toml: models."two": the alias "one" is already a name of "one"',
        'c.toml: models."two".price.currency: [rates] has no rate for "EUR"',
    ]


def test_broken_toml_says_the_line() -> None:
    """A slip of TOML is reported with its line; other bytes are reported too."""
    (fault,) = _faults('[models.m]\nprovider = "p\n')
    assert fault.startswith("c.toml: is not valid TOML: ")
    assert "line 2" in fault
    assert _faults(b"\xff")[0].startswith("c.toml: is not valid TOML: ")
    assert _faults("a = " + "[" * 100_000)[0].startswith("c.toml: is not valid TOML: ")


@pytest.mark.parametrize("content", ["", "[models]", "[rates]\nUSD = '7'"])
def test_no_models(content: str) -> None:
    """A catalog without a model is a fault, so that a file that is just being written is not taken."""
    assert _faults(content) == ["c.toml: models: names no model"]


@pytest.mark.parametrize(
    "amount", ['"-1"', '"nan"', '"inf"', '"1e3"', '""', '" 1"', '"1_000"', '"1000000"', '"01"', "1", "0.04"]
)
def test_amounts_are_plain_decimals(amount: str) -> None:
    """An amount is decimal text: no number of TOML, no sign, no exponent."""
    assert "must be a decimal in quotes" in _faults(_with(price=f'{{ image = {amount}, currency = "CNY" }}'))[0]
    assert "must be a decimal in quotes" in _faults(_with(rates=f"USD = {amount}"))[0]


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (_with(rates='USD = "0.000"'), 'c.toml: rates."USD": must be more than 0'),
        (_with(rates='CNY = "2"'), "c.toml: rates.CNY: is 1 by definition"),
        ("rates = 1\n" + SMALL, "c.toml: rates: must be a table"),
        ("models = 1", "c.toml: models: must be a table"),
        ("models.m = 1", 'c.toml: models."m": must be a table'),
        (_with(price='"0.04"'), 'c.toml: models."m".price: must be a table'),
        (_with(price='{ image = "1" }'), 'c.toml: models."m".price.currency: is missing'),
        (
            _with(price='{ image = "1", currency = 1 }'),
            'c.toml: models."m".price.currency: input should be a valid string',
        ),
        (
            _with(price='{ image = "1", first_mp = "1", currency = "CNY" }'),
            'c.toml: models."m".price.first_mp: is no key of the catalog',
        ),
        (
            _with("pixels_max = 1", price='{ first_mp = "1", more_mp = "1", input_mp = "1", currency = "CNY" }'),
            'c.toml: models."m".price.input_mp_max: is missing',
        ),
        (
            _with(price='{ first_mp="1", more_mp="1", input_mp="1", input_mp_max=9, currency="CNY" }'),
            'c.toml: models."m": a price by megapixel needs pixels_max or side_max, or the quote has no upper end',
        ),
        (
            _with(price='{ image = "999999", currency = "USD" }', rates='USD = "999999"'),
            'c.toml: models."m".price: comes to more than 1000000000 yuan for one request',
        ),
        (_with("images_max = 9"), 'c.toml: models."m".images_max: input should be less than or equal to 8'),
        (_with("images_max = true"), 'c.toml: models."m".images_max: input should be a valid integer'),
        (_with("images_max = 2\nimages_advised = 3"), 'c.toml: models."m": images_advised is more than images_max'),
        (_with("multiple_of = 0"), 'c.toml: models."m".multiple_of: input should be greater than or equal to 1'),
        (_with("side_min = 64\nside_max = 32"), 'c.toml: models."m": side_min is more than side_max'),
        (_with("side_min = 64\npixels_max = 4095"), 'c.toml: models."m": pixels_max is less than side_min × side_min'),
        (
            _with("side_min = 65\nside_max = 79"),
            'c.toml: models."m": side_min and side_max leave no side that is a multiple of 16',
        ),
        (_with("side_max = 15"), 'c.toml: models."m": side_min and side_max leave no side that is a multiple of 16'),
        (
            _with("side_min = 65\npixels_max = 6399"),
            'c.toml: models."m": pixels_max is less than 80 × 80, the smallest size',
        ),
        (_with('reply = "png"'), "c.toml: models.\"m\".reply: input should be 'url' or 'base64'"),
        (_with('retired_on = "2026-10-02"'), 'c.toml: models."m".retired_on: input should be a valid date'),
        (_with("retired_on = 2026-10-02T00:00:01Z"), 'c.toml: models."m".retired_on: input should be a valid date'),
        (_with('enabled = "no"'), 'c.toml: models."m".enabled: input should be a valid boolean'),
        (_with('aliases = ["m"]'), 'c.toml: models."m": the alias "m" is already a name of "m"'),
        (_with('aliases = ["x", "x"]'), 'c.toml: models."m": the alias "x" is listed twice'),
        (
            _with('aliases = ["x\\n"]'),
            f'c.toml: models."m".aliases[0]: {NAMES}',
        ),
    ],
)
def test_single_faults(content: str, fault: str) -> None:
    """Each kind of fault has its words and its place."""
    assert _faults(content) == [fault]


def test_a_currency_at_fault_is_reported_once() -> None:
    """A rate that is wrong is not reported again at each price that uses it."""
    assert len(_faults(_with(price='{ image = "1", currency = "USD" }', rates='USD = "x"'))) == 1


def test_options_are_the_contracts() -> None:
    """The options that a file may name are those that the contract knows."""
    assert get_args(Option) == OPTIONS


def test_parse_gives_a_catalog() -> None:
    """Content that is at hand is read the same way as a file."""
    assert isinstance(parse(SMALL.encode(), "c.toml"), Catalog)
