"""Every field of the document: what is accepted, how it reaches upstream, and the exact words of a refusal."""

from typing import Any

import orjson
import pytest

from gateway.contract import ModelRules, Violation, read_ask
from tests.unit.contract.samples import (
    AR,
    FLUX,
    MD1,
    MD2,
    OF1,
    PNG1,
    PR1,
    PR2,
    PR3,
    RATIOS,
    SE1,
    SE2,
    ST1,
    F,
    G,
    ask,
    im1,
    read,
    refusal,
    refused,
    wh1,
)


@pytest.mark.parametrize(
    ("base", "fields"),
    [
        (F, {}),
        (G, {}),
        (F, {"prompt": "一只可爱的小猫在阳光下玩耍,摄影风格,柔和光线", "aspect_ratio": "16:9"}),
        (
            F,
            {
                "input_image": "https://example.com/input.jpg",
                "aspect_ratio": "2:3",
                "seed": 42,
                "output_format": "png",
                "safety_tolerance": 3,
            },
        ),
        (
            F,
            {
                "input_image": "https://example.com/ref1.jpg",
                "input_image_2": "https://example.com/ref2.jpg",
                "input_image_3": "https://example.com/ref3.jpg",
                "aspect_ratio": "16:9",
            },
        ),
        *[(base, {"aspect_ratio": ratio}) for base in (F, G) for ratio in RATIOS],
        (F, {"aspect_ratio": "16:9", "width": 1024, "height": 1024}),
        (F, {"width": 1024, "height": 768}),
        (F, {"width": 512}),
        (F, {"height": 512}),
        (F, {"width": 1920, "height": 1088}),
        (F, {"width": 2048, "height": 2048}),
        (F, {"width": 4096, "height": 1024}),
        (F, {"model": "flux-1.1-pro", "width": 1040, "height": 1024}),
        (F, {"model": "flux-1.1-pro", "width": 256, "height": 1440}),
        (F, {"seed": 42}),
        (F, {"seed": -1}),
        (F, {"seed": 0}),
        (F, {"seed": 9007199254740993}),
        (F, {"seed": 18446744073709551615}),
        (F, {"seed": -9223372036854775808}),
        *[(F, {"safety_tolerance": level}) for level in range(6)],
        (F, {"output_format": "jpeg"}),
        (F, {"output_format": "png"}),
        (F, {"prompt": " p\n"}),
        (F, {"prompt": "a" * 131_072}),
        (F, {"prompt": "𝒳" * 131_072}),
        (G, {"input_image": "https://example.com/a.png"}),
    ],
)
def test_accepted_as_it_is(base: dict[str, Any], fields: dict[str, Any]) -> None:
    """What keeps the contract reaches upstream with exactly what the caller gave, and nothing else."""
    assert ask(base, **fields).wire() == {**base, **fields}


@pytest.mark.parametrize(
    ("base", "fields"),
    [
        (F, {"width": None, "height": None}),
        (F, {"seed": None}),
        (G, {"width": None, "height": None, "seed": None}),
    ],
)
def test_null_is_not_set(base: dict[str, Any], fields: dict[str, Any]) -> None:
    """Null for width, height and seed means that they are not set, on every model, and is not sent on."""
    assert ask(base, **fields) == ask(base)
    assert ask(base, **fields).wire() == base


def test_one_side_may_be_null() -> None:
    """A width alone is accepted, with its height null or left out."""
    assert ask(F, width=512, height=None).wire() == {**F, "width": 512}


@pytest.mark.parametrize("written", [b"1024", b"1024.0", b"1.024e3", b"1.024E+3", b"102400e-2", b"1024.000"])
def test_an_integer_however_written(written: bytes) -> None:
    """An integer is one in every spelling JSON has, and is sent as an integer."""
    width = read(b'{"model":"flux-2-pro","prompt":"p","width":' + written + b"}").wire()["width"]
    assert (width, type(width)) == (1024, int)


@pytest.mark.parametrize("written", [b"0e99999999999", b"-0", b"-0.0", b"0.0e5"])
def test_zero_however_written(written: bytes) -> None:
    """Zero is an integer whatever its sign and exponent."""
    assert read(b'{"model":"flux-2-pro","prompt":"p","seed":' + written + b"}").seed == 0


def test_escaped_text_is_the_same_text() -> None:
    """Escapes of JSON make no other ask."""
    escaped = read(b'{"model":"flux-2-pro","prompt":"\\u4e00\\u53ea\\u732b \\ud83d\\ude00"}')
    assert escaped == ask(F, prompt="一只猫 😀")


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"model": None}, MD1),
        ({"model": ""}, MD1),
        ({"model": 1}, MD1),
        ({"model": ["flux-2-pro"]}, MD1),
        ({"model": "nope"}, MD2),
        ({"model": "Flux-2-Pro"}, MD2),
        ({"model": "flux-2-pro "}, MD2),
        ({"prompt": ""}, PR1),
        ({"prompt": " \n\t\u3000"}, PR1),
        ({"prompt": None}, PR1),
        ({"prompt": ["a"]}, PR1),
        ({"prompt": 1}, PR1),
        ({"prompt": "a" * 131_073}, PR2),
        ({"prompt": "a\0b"}, PR3),
        ({"prompt": "\0"}, PR3),
    ],
)
def test_refused_model_and_prompt(fields: dict[str, Any], text: str) -> None:
    """A model is a listed name to the letter; a prompt is text that says something."""
    assert refused(F, **fields) == text


def test_missing_required_fields() -> None:
    """The model is asked for before the prompt."""
    assert refusal(b"{}") == MD1
    assert refusal(b'{"prompt":"p"}') == MD1
    assert refusal(b'{"model":"flux-2-pro"}') == PR1


@pytest.mark.parametrize(
    "escape", [b"a\\ud800b", b"\\udc00", b"\\ud800\\u0041", b"\\ud800\\ud800\\udc00", b"\\uDBFF", b"\\\\\\ud800"]
)
def test_lone_surrogates(escape: bytes) -> None:
    """Half a character, which UTF-8 cannot carry, is refused as the prompt's fault."""
    assert refusal(b'{"model":"flux-2-pro","prompt":"' + escape + b'"}') == PR3


def test_an_escaped_backslash_is_no_surrogate() -> None:
    """A backslash before `ud800` that is itself escaped is text."""
    assert read(b'{"model":"flux-2-pro","prompt":"\\\\ud800"}').prompt == "\\ud800"


@pytest.mark.parametrize(
    "ratio", ["4:3", "9:21", "1:2", "", "16x9", "16:9 ", "auto", "match_input_image", None, 1, ["1:1"]]
)
def test_refused_ratio(ratio: object) -> None:
    """Nine ratios, no trimming and no null: the documented error to the letter."""
    assert refused(F, aspect_ratio=ratio) == AR
    assert refused(F, aspect_ratio=ratio, width=1024, height=1024) == AR


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"width": 100, "height": 100}, wh1("width")),
        ({"width": 1920, "height": 1080}, wh1("height")),
        ({"height": -16}, wh1("height")),
        ({"width": 0}, wh1("width")),
        ({"width": "1024"}, wh1("width")),
        ({"width": True}, wh1("width")),
        ({"width": 1024.5}, wh1("width")),
        ({"height": [16]}, wh1("height")),
        ({"height": {}}, wh1("height")),
        ({"width": 16, "height": 16}, "Invalid width parameter. Supported range for flux-2-pro: 64 to 65536"),
        ({"width": 64, "height": 48}, "Invalid height parameter. Supported range for flux-2-pro: 64 to 65536"),
        (
            {"width": 1_600_000_000, "height": 1_600_000_000},
            "Invalid width parameter. Maximum output size for flux-2-pro: 4194304 pixels",
        ),
        (
            {"width": 2064, "height": 2048},
            "Invalid width parameter. Maximum output size for flux-2-pro: 4194304 pixels",
        ),
        ({"width": 65_552}, "Invalid width parameter. Maximum output size for flux-2-pro: 4194304 pixels"),
        ({"height": 65_552}, "Invalid height parameter. Maximum output size for flux-2-pro: 4194304 pixels"),
        (
            {"model": "flux-1.1-pro", "width": 1456, "height": 1024},
            "Invalid width parameter. Supported range for flux-1.1-pro: 256 to 1440",
        ),
        (
            {"model": "flux-1.1-pro", "width": 240},
            "Invalid width parameter. Supported range for flux-1.1-pro: 256 to 1440",
        ),
    ],
)
def test_refused_size(fields: dict[str, Any], text: str) -> None:
    """A side is a positive multiple of 16 within what the model makes, and both together within its pixels."""
    assert refused(F, **fields) == text


def test_a_model_without_limits_takes_any_multiple() -> None:
    """Without limits of its own a model takes the document's smallest side, 16, and any size."""
    rules = ModelRules("flux-2-pro", FLUX.accepts, 8, 0, 0, 0, 16, 100)
    body = orjson.dumps({**F, "width": 16, "height": 1_600_000_000})
    assert read_ask(body, {"flux-2-pro": rules}, usable=()).wire()["width"] == 16
    low = ModelRules("flux-2-pro", FLUX.accepts, 8, 32, 0, 0, 16, 100)
    with pytest.raises(Violation, match=r"^Invalid width parameter\. Supported range for flux-2-pro: 32 or more$"):
        read_ask(body, {"flux-2-pro": low}, usable=())


@pytest.mark.parametrize(
    ("side_min", "side_max", "pixels_max", "multiple_of", "ends"),
    [
        (250, 1450, 0, 16, (256, 1440)),
        (0, 100, 0, 32, (32, 96)),
        (100, 0, 1_000_000, 32, (128, 7808)),
        (64, 10_000, 64 * 1000, 16, (64, 992)),
    ],
)
def test_the_offered_range_is_acceptable(
    side_min: int, side_max: int, pixels_max: int, multiple_of: int, ends: tuple[int, int]
) -> None:
    """Whoever is told a range may ask for its ends: the catalog's limits need not be multiples themselves."""
    rules = ModelRules("flux", FLUX.accepts, 8, side_min, side_max, pixels_max, multiple_of, 100)

    def sized(width: int, height: int) -> bytes:
        return orjson.dumps({"model": "flux", "prompt": "p", "width": width, "height": height})

    if side_min > multiple_of:
        with pytest.raises(Violation, match=f"Supported range for flux: {ends[0]} to {ends[1]}$"):
            read_ask(sized(multiple_of, ends[0]), {"flux": rules}, usable=())
    for end in ends:
        assert read_ask(sized(end, ends[0]), {"flux": rules}, usable=()).wire()["width"] == end
    assert (rules.smallest_side, rules.largest_side) == ends


@pytest.mark.parametrize("name", ["width", "height", "seed", "safety_tolerance"])
@pytest.mark.parametrize("number", ["9" * 5000, "9" * 5000 + ".5e3", "1" + "0" * 4999 + "e-999", "1e999999999"])
def test_absurd_numbers_are_the_fields_fault(name: str, number: str) -> None:
    """A number that no type holds is refused like any other that is out of range, and quickly."""
    text = refusal(f'{{"model":"flux-2-pro","prompt":"p","{name}":{number}}}'.encode())
    assert text.startswith(f"Invalid {name} parameter. ")


@pytest.mark.parametrize(
    "number", ["1e99999999999999999999", "1e-99999999999999999999", "1e-999999999", "0." + "1" * 9999]
)
def test_numbers_beyond_decimals(number: str) -> None:
    """An exponent or a fraction of any length is refused in the field's words."""
    assert refusal(f'{{"model":"flux-2-pro","prompt":"p","seed":{number}}}'.encode()) == SE1


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"seed": 1.5}, SE1),
        ({"seed": "1"}, SE1),
        ({"seed": False}, SE1),
        ({"seed": []}, SE1),
        ({"safety_tolerance": 6}, ST1),
        ({"safety_tolerance": -1}, ST1),
        ({"safety_tolerance": 2.5}, ST1),
        ({"safety_tolerance": "2"}, ST1),
        ({"safety_tolerance": True}, ST1),
        ({"safety_tolerance": None}, ST1),
        ({"output_format": "webp"}, OF1),
        ({"output_format": "jpg"}, OF1),
        ({"output_format": "JPEG"}, OF1),
        ({"output_format": None}, OF1),
        ({"output_format": ["png"]}, OF1),
    ],
)
def test_refused_options(fields: dict[str, Any], text: str) -> None:
    """Seed, safety_tolerance and output_format take their documented values only."""
    assert refused(F, **fields) == text


@pytest.mark.parametrize("seed", [b"18446744073709551616", b"-9223372036854775809", b"-1e30", b"1e400"])
def test_seed_out_of_range(seed: bytes) -> None:
    """A seed beyond 64 bits is refused, since it would not arrive digit for digit."""
    assert refusal(b'{"model":"flux-2-pro","prompt":"p","seed":' + seed + b"}") == SE2


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("seed", 1),
        ("seed", "x"),
        ("safety_tolerance", 2),
        ("safety_tolerance", None),
        ("output_format", "png"),
        ("output_format", "webp"),
        ("width", 1024),
        ("height", 17),
    ],
)
def test_options_of_other_models(name: str, value: object) -> None:
    """A value for an option that the model does not take is refused, even the default, even a wrong one."""
    assert refused(G, **{name: value}) == f"Invalid {name} parameter. Not supported by gemini-2.5-flash-image"


@pytest.mark.parametrize("rules", [{"accepts": frozenset({"seed"})}, {"images_max": 0}])
def test_a_model_without_references(rules: dict[str, Any]) -> None:
    """A model that takes no reference image says so for each slot."""
    limits = {"accepts": FLUX.accepts, "images_max": 8, **rules}
    text_only = ModelRules(name="m", side_min=0, side_max=0, pixels_max=0, multiple_of=16, prompt_chars_max=9, **limits)
    with pytest.raises(Violation, match=r"^Invalid input_image_3 parameter\. Not supported by m$"):
        read_ask(b'{"model":"m","prompt":"p","input_image_3":"https://a.example/b"}', {"m": text_only}, usable=())


def test_fewer_references_than_slots() -> None:
    """A model with fewer images than the document's eight takes that many, in whichever slots."""
    three = ModelRules("m", FLUX.accepts, 2, 0, 0, 0, 16, 100)
    body = {"model": "m", "prompt": "p", "input_image_2": PNG1, "input_image_8": PNG1}
    assert [slot for slot, _ in read_ask(orjson.dumps(body), {"m": three}, usable=()).references] == [2, 8]
    with pytest.raises(Violation, match=r"^Invalid input_image_8 parameter\. Maximum number of images: 2$"):
        read_ask(orjson.dumps({**body, "input_image_5": PNG1}), {"m": three}, usable=())


def test_an_alias_is_read_by_its_models_rules() -> None:
    """The name the caller wrote, alias or not, is the ask's model and the one named in a refusal."""
    assert read_ask(b'{"model":"flux","prompt":"p"}', {"flux": FLUX}, usable=()).model == "flux"
    with pytest.raises(Violation, match="Supported range for flux: "):
        read_ask(b'{"model":"flux","prompt":"p","width":16}', {"flux": FLUX}, usable=())


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"aspect_ratio": "4:3", "output_format": "webp", "width": 100}, AR),
        ({"model": "nope", "prompt": ""}, MD2),
        ({"prompt": "", "aspect_ratio": "4:3"}, PR1),
        ({"input_image": "x!", "width": 1}, im1()),
        ({"width": 1, "seed": "x"}, wh1("width")),
        ({"seed": "x", "safety_tolerance": 9}, SE1),
        ({"safety_tolerance": 9, "output_format": "gif"}, ST1),
    ],
)
def test_the_first_fault_in_the_documents_order_wins(fields: dict[str, Any], text: str) -> None:
    """Of several faults the one that comes first in the document is told, wherever it stands in the body."""
    assert refused(F, **dict(reversed(fields.items()))) == text
