"""From the members of an OpenAI request to our asks, one an image: an adapter of words, nothing is decided here. Pure.

What has no counterpart is refused by its name: a quality or a transparency that is silently left out would be paid for
and missed. A value that asks for nothing (`"background": "auto"`) is taken.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

from gateway.api.openai.size import members_for
from gateway.contract import (
    REFERENCE_FIELDS,
    SEEDS,
    GenerateAsk,
    ModelRules,
    Violation,
    ask_of,
    echo,
    parameter,
    read_integer,
)

ResponseFormat: TypeAlias = Literal["url", "b64_json"]

MOST_IMAGES = 10
MOST_USER_CHARACTERS = 128

_SAME = ("model", "prompt", "output_format")
_OURS = ("aspect_ratio", "seed", "safety_tolerance")
"""Members of our own contract that OpenAI's has not; its SDKs send them as `extra_body`."""

_NAMES = frozenset({*_SAME, *_OURS, "n", "size", "quality", "response_format", "user"})
_ASKING_NOTHING: Mapping[str, Sequence[object]] = {
    "background": ("auto",),
    "moderation": ("auto",),
    "quality": ("auto", "standard"),
    "stream": (False,),
    "partial_images": (0,),
}
_BLAMED = {"width": "size", "height": "size", **dict.fromkeys(REFERENCE_FIELDS, "image")}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What one request asks for: an ask for each image, the form of the answer, and the end user it names."""

    asks: tuple[GenerateAsk, ...]
    form: ResponseFormat
    user: str | None


def wanted_of(
    members: Mapping[str, Any],
    models: Mapping[str, ModelRules],
    *,
    usable: Sequence[str],
    images: Sequence[bytes] = (),
) -> Wanted:
    """Read a request; null is the same as left out. `images` are the files of an edit. Raises Violation.

    With a seed, image i of several has the seed `seed + i`: the same seed would be the same picture again.
    """
    given = {name: value for name, value in members.items() if value is not None}
    _check_names(given)
    count = _count(given.get("n", 1))
    form = _form(given.get("response_format", "url"))
    user = _user(given.get("user"))
    ask = _ask(given, models, usable, images)
    if ask.seed is not None and ask.seed + count - 1 not in SEEDS:
        raise parameter("seed", f"Supported range with n {count}: {SEEDS.start} to {SEEDS.stop - count}")
    return Wanted(tuple(_of_several(ask, index) for index in range(count)), form, user)


def _check_names(given: Mapping[str, Any]) -> None:
    for name, value in given.items():
        if (neutral := _ASKING_NOTHING.get(name)) is not None:
            if not any(value == one and type(value) is type(one) for one in neutral):
                shown = ", ".join(str(one).lower() for one in neutral)
                raise parameter(name, f"Supported values: {shown}")
        elif name not in _NAMES:
            supported = ", ".join(("model", "prompt", "n", "size", "response_format", "output_format", "user", *_OURS))
            raise parameter(echo(name), f"Not supported by this gateway. Supported parameters: {supported}")


def _count(value: object) -> int:
    count = read_integer(value)
    if count is None or not 1 <= count <= MOST_IMAGES:
        raise parameter("n", f"Supported range: 1 to {MOST_IMAGES}")
    return count


def _form(value: object) -> ResponseFormat:
    if value == "url":
        return "url"
    if value == "b64_json":
        return "b64_json"
    raise parameter("response_format", "Supported values: url, b64_json")


def _user(value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not 1 <= len(value) <= MOST_USER_CHARACTERS or not value.isprintable():
        raise parameter("user", f"1 to {MOST_USER_CHARACTERS} printable characters are required")
    return value


def _ask(
    given: Mapping[str, Any], models: Mapping[str, ModelRules], usable: Sequence[str], images: Sequence[bytes]
) -> GenerateAsk:
    ours = {name: given[name] for name in (*_SAME, *_OURS) if name in given}
    model = ours.get("model")
    if isinstance(model, str) and (rules := models.get(model)) is not None:
        size = members_for(given.get("size"), rules)
        if "aspect_ratio" in ours and size:
            raise parameter("size", "Cannot be given beside aspect_ratio")
        ours |= size
    if len(images) > len(REFERENCE_FIELDS):
        raise parameter("image", f"Maximum number of images: {len(REFERENCE_FIELDS)}")
    ours |= zip(REFERENCE_FIELDS, images, strict=False)
    try:
        return ask_of(ours, models, usable=usable)
    except Violation as violation:
        if violation.name in _BLAMED:
            raise parameter(_BLAMED[violation.name], violation.rule) from None
        raise


def _of_several(ask: GenerateAsk, index: int) -> GenerateAsk:
    return ask if ask.seed is None or index == 0 else replace(ask, seed=ask.seed + index)
