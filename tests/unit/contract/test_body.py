"""The body as a whole: one JSON object in UTF-8, documented names, each once."""

import time

import pytest

from tests.unit.contract.samples import BO1, PR3, F, G, read, refusal, refused, unknown


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"[]",
        b"null",
        b'"x"',
        b"1",
        b"true",
        b"1.5",
        b'{"model":"flux-2-pro","prompt":"p",}',
        b'{"model":"flux-2-pro","prompt":"p"',
        b"{'model':'flux-2-pro'}",
        b'{"model":"flux-2-pro","prompt":"\xff"}',
        b'{"model":"flux-2-pro","prompt":"\xed\xa0\x80"}',
        b'{"model":"flux-2-pro","prompt":"a\nb"}',
        b'{"model":"flux-2-pro","prompt":"p"} {}',
        b'{"model":"flux-2-pro","prompt":"p"}x',
        b'{"model":"flux-2-pro","prompt":"p","seed":NaN}',
        b'{"model":"flux-2-pro","prompt":"p","seed":-Infinity}',
        b'{"model":"flux-2-pro","prompt":"p","seed":01}',
        b'{"model":"flux-2-pro","prompt":"\\ud800","seed":01}',
        b'{"model":"flux-2-pro","prompt":"\\ux"}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"9" * 5000,
        b"[" + b"9" * 5000 + b"]",
        b"\xef\xbb\xbf" + b'{"model":"flux-2-pro","prompt":"p"}',
        '{"model":"flux-2-pro","prompt":"p"}'.encode("utf-16"),
        '{"model":"flux-2-pro","prompt":"p"}'.encode("utf-32"),
        b"\0",
    ],
)
def test_no_json_object(body: bytes) -> None:
    """Whatever is not exactly one JSON object in UTF-8 is refused in the same words."""
    assert refusal(body) == BO1


@pytest.mark.parametrize("value", [b"1.5", b"[]", b'""', b"{}"])
def test_a_crowd_of_values_is_not_read(value: bytes) -> None:
    """A body of a million values would take a hundred times its memory: it is refused before it is parsed."""
    body = b'{"model":"flux-2-pro","prompt":[' + b",".join([value] * 1_000_000) + b"]}"
    begun = time.process_time()
    assert refusal(body) == BO1
    assert time.process_time() - begun < 0.1


def test_a_prompt_may_be_all_commas() -> None:
    """Commas are counted without looking where they are, so the longest prompt may consist of them."""
    prompt = "," * 131_072
    assert read(b'{"model":"flux-2-pro","prompt":"%s"}' % prompt.encode()).prompt == prompt


def test_white_space_around_is_json() -> None:
    """White space around the object is part of JSON."""
    assert read(b' \r\n{"model":"flux-2-pro",\t"prompt":"p"}\n').wire() == F


@pytest.mark.parametrize(
    ("body", "name"),
    [
        (b'{"model":"flux-2-pro","prompt":"p","mo\\u0064el":"flux-2-pro"}', "model"),
        (b'{"model":"flux-2-pro","prompt":"p","prompt":"q"}', "prompt"),
        (b'{"model":"nope","model":"flux-2-pro","prompt":"p"}', "model"),
        (b'{"promt":1,"promt":2}', "promt"),
        ('{"猫":1,"\\u732b":2}'.encode(), "猫"),
        (b'{"prompt":"\\ud800","model":"a","model":"b"}', "model"),
        (b'{"seed":' + b"9" * 5000 + b',"model":"a","model":"b"}', "model"),
        (b'{"' + b"x" * 100 + b'":1,"' + b"x" * 100 + b'":1}', "x" * 64),
    ],
)
def test_repeated_names(body: bytes, name: str) -> None:
    """A name that occurs twice is refused by its name, even if it is escaped or its values are equal."""
    assert refusal(body) == f"Invalid request body. Duplicate parameter: {name}"


@pytest.mark.parametrize(
    "name", ["n", "api_base", "__proto__", "input_image_1", "input_image_0", "input_image_09", "Model"]
)
def test_unknown_names(name: str) -> None:
    """A name that is not in the document is refused by its name on every model."""
    assert refused(F, **{name: {}}) == unknown(name)
    assert refused(G, **{name: 4}) == unknown(name)


def test_an_unknown_name_is_told_before_anything_else() -> None:
    """A misspelt prompt is not told that the prompt is missing."""
    assert refusal(b'{"model":"flux-2-pro","promt":"x"}') == unknown("promt")
    assert refusal(b'{"nodel":"flux-2-pro","seed":"x"}') == unknown("nodel")


@pytest.mark.parametrize("name", ["input_image_9", "input_image_10", "input_image_123"])
def test_a_ninth_image(name: str) -> None:
    """An image beyond the eighth has words of its own."""
    text = f"Invalid {name} parameter. Maximum number of images: 8"
    assert refused(F, **{name: "https://a.example/b.png"}) == text


@pytest.mark.parametrize(
    ("name", "echoed"),
    [("x" * 65, "x" * 64), ("a\nb\u202e\0c\x7f", "abc"), ("\x01" * 100_000, ""), ("", ""), ("猫", "猫")],
)
def test_an_echoed_name_is_short_and_printable(name: str, echoed: str) -> None:
    """Of an unknown name at most 64 printable characters are repeated."""
    assert refused(F, **{name: 1}) == unknown(echoed)


def test_a_name_of_half_a_character() -> None:
    """A lone surrogate in a name is an unknown name, not a server error."""
    assert refusal(b'{"model":"flux-2-pro","prompt":"p","x\\ud800":1}') == unknown("x")


def test_a_surrogate_beside_much_text() -> None:
    """A lone surrogate is told as the prompt's fault also beside many escapes; beyond reason the body is blamed."""
    body = b'{"model":"flux-2-pro","prompt":"%s\\ud800"}'
    assert refusal(body % (b"\\n" * 100_000)) == PR3
    assert refusal(body % (b"\\n" * 300_000)) == BO1
