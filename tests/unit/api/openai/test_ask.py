"""An OpenAI request becomes asks of our own, or is refused by the name of what cannot be mapped."""

from collections.abc import Mapping
from typing import Any

import pytest

from gateway.api.openai.ask import Wanted, wanted_of
from gateway.contract import OPTIONS, SEEDS, ModelRules, ReferenceBytes, Violation
from tests.unit.images.pictures import picture

SIZED = ModelRules("sized", frozenset(OPTIONS), 8, 64, 2048, 0, 16, 1000)
SHAPED = ModelRules("shaped", frozenset({"aspect_ratio", "input_image"}), 2, 0, 0, 0, 16, 1000)
PLAIN = ModelRules("plain", frozenset(), 0, 0, 0, 0, 16, 1000)
MODELS = {rules.name: rules for rules in (SIZED, SHAPED, PLAIN)}


def wanted(images: tuple[bytes, ...] = (), /, **members: Any) -> Wanted:
    """Read a request for a picture of the sized model, unless the members say otherwise."""
    given: Mapping[str, Any] = {"model": "sized", "prompt": "p"} | members
    return wanted_of(given, MODELS, usable=list(MODELS), images=images)


def refusal(images: tuple[bytes, ...] = (), /, **members: Any) -> tuple[str | None, str]:
    """Return the parameter that is blamed, and the text."""
    with pytest.raises(Violation) as caught:
        wanted(images, **members)
    return caught.value.name, caught.value.text


@pytest.mark.parametrize(
    ("model", "size", "expected"),
    [
        ("sized", None, {}),
        ("sized", "auto", {}),
        ("sized", "1536x1024", {"width": 1536, "height": 1024}),
        ("shaped", "1024x1024", {"aspect_ratio": "1:1"}),
        ("shaped", "1024x1536", {"aspect_ratio": "2:3"}),
        ("shaped", "1792x1024", {"aspect_ratio": "16:9"}),
        ("shaped", "1024x1792", {"aspect_ratio": "9:16"}),
        ("plain", "auto", {}),
    ],
)
def test_a_size_is_said_in_the_words_of_the_model(model: str, size: str | None, expected: dict[str, object]) -> None:
    """Width and height where the model takes them, else the ratio that the size comes to."""
    assert wanted(model=model, size=size).asks[0].wire() == {"model": model, "prompt": "p"} | expected


@pytest.mark.parametrize(
    ("members", "name", "text"),
    [
        ({"size": "big"}, "size", "Invalid size parameter. Supported forms: auto, or WIDTHxHEIGHT such as 1024x1024"),
        ({"size": "1024x"}, "size", "Supported forms"),
        ({"size": 1024}, "size", "Supported forms"),
        ({"size": "1000x1024"}, "size", "Must be a positive multiple of 16"),
        ({"size": "4096x1024"}, "size", "Supported range for sized: 64 to 2048"),
        ({"size": "1024x1024", "model": "plain"}, "size", "Not supported by plain"),
        ({"size": "1000x100", "model": "shaped"}, "size", "Supported ratios for shaped: 1:1, 2:3"),
        ({"size": "64x64", "aspect_ratio": "1:1"}, "size", "Cannot be given beside aspect_ratio"),
        ({"n": 0}, "n", "Supported range: 1 to 10"),
        ({"n": 11}, "n", "Supported range: 1 to 10"),
        ({"n": "2"}, "n", "Supported range: 1 to 10"),
        ({"n": True}, "n", "Supported range: 1 to 10"),
        ({"quality": "hd"}, "quality", "Supported values: auto, standard"),
        ({"background": "transparent"}, "background", "Supported values: auto"),
        ({"stream": True}, "stream", "Supported values: false"),
        ({"stream": 0}, "stream", "Supported values: false"),
        ({"style": "vivid"}, "style", "Not supported by this gateway. Supported parameters: model, prompt"),
        ({"mask": "x"}, "mask", "Not supported by this gateway"),
        ({"input_image": "x"}, "input_image", "Not supported by this gateway"),
        ({"width": 64}, "width", "Not supported by this gateway"),
        ({"response_format": "json"}, "response_format", "Supported values: url, b64_json"),
        ({"output_format": "webp"}, "output_format", "Supported formats: jpeg, png"),
        ({"output_format": "png", "model": "shaped"}, "output_format", "Not supported by shaped"),
        ({"user": ""}, "user", "1 to 128 printable characters"),
        ({"user": "a\nb"}, "user", "1 to 128 printable characters"),
        ({"user": "a" * 129}, "user", "1 to 128 printable characters"),
        ({"model": "dall-e-3"}, "model", "Supported models: sized, shaped, plain"),
        ({"model": None}, "model", "A model name is required"),
        ({"prompt": " "}, "prompt", "A non-empty text is required"),
    ],
)
def test_what_cannot_be_mapped_is_refused_by_name(members: dict[str, Any], name: str, text: str) -> None:
    """The parameter that the caller wrote is blamed, not the one of ours behind it."""
    blamed, said = refusal(**members)
    assert blamed == name
    assert said.startswith(f"Invalid {name} parameter. ")
    assert text in said


def test_what_asks_for_nothing_is_taken() -> None:
    """Values that stand for a model's own way change nothing, and null is the same as left out."""
    asks_nothing: dict[str, Any] = {
        "quality": "auto",
        "background": "auto",
        "moderation": "auto",
        "stream": False,
        "partial_images": 0,
        "size": None,
        "n": None,
        "user": None,
        "response_format": None,
    }
    assert wanted(**asks_nothing) == wanted()


def test_several_images_are_as_many_asks() -> None:
    """Without a seed the asks are equal; with one each has its own, or all would be the same picture."""
    assert [ask.seed for ask in wanted(n=3).asks] == [None] * 3
    assert [ask.seed for ask in wanted(n=3, seed=7).asks] == [7, 8, 9]
    largest = SEEDS.stop - 1
    assert [ask.seed for ask in wanted(n=2, seed=largest - 1).asks] == [largest - 1, largest]
    rule = f"Supported range with n 2: {SEEDS.start} to {largest - 1}"
    assert refusal(n=2, seed=largest) == ("seed", f"Invalid seed parameter. {rule}")


def test_files_become_references_in_their_order() -> None:
    """The first file is the first reference, byte for byte."""
    first, second = picture("png", 64, 64), picture("png", 32, 64)
    (ask,) = wanted((first, second), user="u", response_format="b64_json").asks
    assert [slot for slot, _ in ask.references] == [1, 2]
    references = [reference for _, reference in ask.references]
    assert all(isinstance(reference, ReferenceBytes) for reference in references)
    assert [getattr(reference, "size", 0) for reference in references] == [len(first), len(second)]


def test_files_are_blamed_as_images() -> None:
    """What is no picture, too many of them, and pictures for a model that takes none."""
    one = picture("png", 64, 64)
    assert refusal((b"no picture",)) == ("image", "Invalid image parameter. Supported formats: jpeg, png, webp")
    assert refusal((one,) * 9) == ("image", "Invalid image parameter. Maximum number of images: 8")
    assert refusal((one,) * 3, model="shaped")[1] == "Invalid image parameter. Maximum number of images: 2"
    assert refusal((one,), model="plain")[1] == "Invalid image parameter. Not supported by plain"
