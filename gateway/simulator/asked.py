"""What a request may hold, checked as strictly as upstream's document words it.

This is written from the document alone and shares nothing with the gateway's own validation: the two must agree
because each is right, not because they are the same code. Where the document offers two forms (a bare key or
`Bearer`), both are taken; what it does not offer (a `data:` URL, wrapped Base64) is refused.
"""

import binascii
import hashlib
import json
from collections.abc import Callable, Collection
from dataclasses import dataclass
from decimal import Decimal
from io import BytesIO
from typing import Any
from urllib.parse import urlsplit

import pybase64

RATIOS = ("1:1", "2:3", "3:2", "3:4", "4:5", "5:4", "9:16", "16:9", "21:9")
IMAGE_FIELDS = ("input_image", *(f"input_image_{number}" for number in range(2, 9)))
FLUX_FIELDS = ("width", "height", "seed", "safety_tolerance", "output_format")
FIELDS = ("model", "prompt", "aspect_ratio", *IMAGE_FIELDS, *FLUX_FIELDS)
IMAGE_BYTES_MAX = IMAGE_PIXELS_MAX = 20 * 1024 * 1024
PIXELS_MAX = 4 * 1024 * 1024
"""The largest picture drawn; the document names no bound."""
SIDE_MAX = 65_500
"""The longest side drawn: libjpeg's."""

_SEEDS = range(-(2**63), 2**64)


class Refused(Exception):
    """The request is refused. The text is the answer's `msg`, `status` its HTTP status."""

    def __init__(self, text: str, status: int = 400) -> None:
        self.text = text
        self.status = status
        super().__init__(text)


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that the document allows. `references` are digests of the reference images, in the order of slots."""

    model: str
    prompt: str
    aspect_ratio: str | None = None
    references: tuple[str, ...] = ()
    width: int | None = None
    height: int | None = None
    seed: int | None = None
    output_format: str = "jpeg"

    @property
    def is_flux(self) -> bool:
        """Whether the fields for Flux apply."""
        return self.model.startswith("flux")


def parse(body: bytes | bytearray) -> dict[str, Any]:
    """Read a request body: one JSON object in UTF-8 without a name given twice.

    Raises Refused.
    """
    try:
        members = json.loads(body.decode(), object_pairs_hook=_once, parse_float=Decimal, parse_constant=_no_constant)
    except (ValueError, RecursionError) as failure:
        raise Refused("Invalid request body. A JSON object is required") from failure
    if not isinstance(members, dict):
        raise Refused("Invalid request body. A JSON object is required")
    return members


def check(members: dict[str, Any], models: Collection[str]) -> Asked:
    """Check the members of a request in the document's order; the first fault is the one that is named.

    Raises Refused.
    """
    for name in members:
        if name not in FIELDS:
            raise Refused(f"Invalid {ascii(name[:64])[1:-1]} parameter. Supported parameters: {', '.join(FIELDS)}")
    model, prompt = _model(members, models), _prompt(members)
    if "aspect_ratio" in members and members["aspect_ratio"] not in RATIOS:
        raise Refused(f"Invalid aspect_ratio parameter. Supported ratios: {', '.join(RATIOS)}")
    references = tuple(_reference(name, members[name]) for name in IMAGE_FIELDS if name in members)
    if not model.startswith("flux"):
        _no_flux_fields(members, model)
    multiple = "Must be a positive multiple of 16 or null"
    width = _whole(members, "width", multiple, lambda number: number > 0 and number % 16 == 0)
    height = _whole(members, "height", multiple, lambda number: number > 0 and number % 16 == 0)
    for name, side in (("width", width), ("height", height)):
        if side is not None and side > SIDE_MAX:
            raise Refused(f"Invalid {name} parameter. Maximum side: {SIDE_MAX} pixels")
    if (16 if width is None else width) * (16 if height is None else height) > PIXELS_MAX:
        raise Refused(f"Invalid width parameter. Maximum output size: {PIXELS_MAX} pixels")
    seed = _whole(members, "seed", "Must be an integer or null", _SEEDS.__contains__)
    _tolerance(members)
    if "output_format" in members and members["output_format"] not in ("jpeg", "png"):
        raise Refused("Invalid output_format parameter. Supported formats: jpeg, png")
    return Asked(
        model=model,
        prompt=prompt,
        aspect_ratio=members.get("aspect_ratio"),
        references=references,
        width=width,
        height=height,
        seed=seed,
        output_format=members.get("output_format", "jpeg"),
    )


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a name is given twice")
    return members


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _model(members: dict[str, Any], models: Collection[str]) -> str:
    model = members.get("model")
    if not isinstance(model, str) or model not in models:
        raise Refused(f"Invalid model parameter. Supported models: {', '.join(models)}")
    return model


def _prompt(members: dict[str, Any]) -> str:
    prompt = members.get("prompt")
    if not isinstance(prompt, str) or not prompt.strip() or not _encodable(prompt):
        raise Refused("Invalid prompt parameter. A non-empty text is required")
    return prompt


def _no_flux_fields(members: dict[str, Any], model: str) -> None:
    """Refuse them all, but for a `null` where the document's type has it: that is "not set", no use of the field."""
    for name in FLUX_FIELDS:
        if name in members and not (members[name] is None and name in ("width", "height", "seed")):
            raise Refused(f"Invalid {name} parameter. Not supported by {model}")


def _encodable(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _whole(members: dict[str, Any], name: str, rule: str, allowed: Callable[[int], bool]) -> int | None:
    """Read an optional whole number: JSON has one type of number, so 1024.0 is one, 1024.5, "1024" and true are not."""
    value = members.get(name)
    if value is None:
        return None
    # The bound comes before int(): 1e999999999 is a legal JSON number with a billion digits.
    if isinstance(value, Decimal) and -(2**65) < value < 2**65 and value == value.to_integral_value():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not allowed(value):
        raise Refused(f"Invalid {name} parameter. {rule}")
    return value


def _tolerance(members: dict[str, Any]) -> None:
    rule = "Supported values: 0, 1, 2, 3, 4, 5"
    if "safety_tolerance" in members and _whole(members, "safety_tolerance", rule, range(6).__contains__) is None:
        raise Refused(f"Invalid safety_tolerance parameter. {rule}")


def _reference(name: str, value: Any) -> str:
    """Check one reference image and return its digest. A URL is taken at its word and never fetched."""
    forms = f"Invalid {name} parameter. Supported forms: Base64-encoded image, http or https image URL"
    if not isinstance(value, str):
        raise Refused(forms)
    if not _is_link(value):
        _check_base64(name, value, forms)
    return hashlib.sha256(value.encode()).hexdigest()


def _is_link(value: str) -> bool:
    if (
        not value[:8].lower().startswith(("http://", "https://"))
        or not value.isascii()
        or any(char <= " " for char in value)
    ):
        return False
    try:
        return bool(urlsplit(value).hostname)
    except ValueError:
        return False


def _check_base64(name: str, value: str, forms: str) -> None:
    from PIL import Image, UnidentifiedImageError  # noqa: PLC0415 -- some megabytes that no gateway is to carry

    try:
        decoded = pybase64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as failure:
        raise Refused(forms) from failure
    if not decoded:
        raise Refused(forms)
    too_large = f"Invalid {name} parameter. Maximum size: 20MB or 20MP"
    if len(decoded) > IMAGE_BYTES_MAX:
        raise Refused(too_large)
    try:
        with Image.open(BytesIO(decoded), formats=("JPEG", "PNG", "WEBP")) as picture:
            width, height = picture.size
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as failure:
        raise Refused(too_large) from failure
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as failure:
        # Pillow raises each of these for some broken header.
        raise Refused(f"Invalid {name} parameter. Supported formats: jpeg, png, webp") from failure
    if width * height > IMAGE_PIXELS_MAX:
        raise Refused(too_large)
