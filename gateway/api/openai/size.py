"""OpenAI's `size` in the words of the model: width and height, or the aspect ratio that it comes to. Pure."""

import re
from collections.abc import Mapping
from fractions import Fraction

from gateway.contract import ASPECT_RATIOS, ModelRules, parameter

_SIZE = re.compile(r"([1-9][0-9]{0,4})x([1-9][0-9]{0,4})", re.ASCII)
_RATIOS = {text: Fraction(*map(int, text.split(":"))) for text in ASPECT_RATIOS}
_OFF = Fraction(2, 100)
"""How far a size may be from a ratio that it stands for: 1792x1024, OpenAI's own wide size, is 1.6 % off 16:9."""


def members_for(size: object, rules: ModelRules) -> Mapping[str, object]:
    """Return what a size says, as members of a request; nothing for None and `auto`. Raises Violation."""
    if size is None or size == "auto":
        return {}
    match = _SIZE.fullmatch(size) if isinstance(size, str) else None
    if match is None:
        raise parameter("size", "Supported forms: auto, or WIDTHxHEIGHT such as 1024x1024")
    width, height = int(match[1]), int(match[2])
    if {"width", "height"} <= rules.accepts:
        return {"width": width, "height": height}
    if "aspect_ratio" not in rules.accepts:
        raise parameter("size", f"Not supported by {rules.name}")
    return {"aspect_ratio": _ratio(Fraction(width, height), rules.name)}


def _ratio(asked: Fraction, model: str) -> str:
    nearest = min(_RATIOS, key=lambda text: abs(asked / _RATIOS[text] - 1))
    if abs(asked / _RATIOS[nearest] - 1) > _OFF:
        raise parameter("size", f"Supported ratios for {model}: {', '.join(ASPECT_RATIOS)}")
    return nearest
