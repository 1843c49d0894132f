"""From a body to an ask: every rule of the document, field by field in its order; the first fault is the answer.

Unknown and repeated names come first: `promt` should be told about `promt`, not about a missing prompt.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gateway.contract import violation
from gateway.contract.ask import FIELDS, MAX_REFERENCES, REFERENCE_FIELDS, GenerateAsk, ModelRules, Reference
from gateway.contract.body import read_members
from gateway.contract.numbers import read_integer
from gateway.contract.references import read_reference

ASPECT_RATIOS = ("1:1", "2:3", "3:2", "3:4", "4:5", "5:4", "9:16", "16:9", "21:9")
"""In the document's order, which is also that of its error text."""

OUTPUT_FORMATS = ("jpeg", "png")
SAFETY_TOLERANCES = range(6)
SEEDS = range(-(2**63), 2**64)
"""The document says "any integer"; this much survives JSON writers and both signednesses of 64 bits."""

_NAMES = frozenset(FIELDS)
_NINTH_REFERENCE = re.compile(r"input_image_(9|[1-9][0-9]{1,9})", re.ASCII)


def read_ask(
    body: bytes, models: Mapping[str, ModelRules], *, usable: Sequence[str], own_links: tuple[str, ...] = ()
) -> GenerateAsk:
    """Read the body of a generation request.

    `models` has the rules by every name and alias that may be written; `usable` are the names to list for one who
    wrote another; a link of this gateway begins with one of `own_links`, up to and including a slash. A body of
    megabytes keeps a core busy for some milliseconds, mostly without the interpreter's lock: read it in a thread.

    Raises Violation, and nothing else, for whatever bytes.
    """
    return ask_of(read_members(body), models, usable=usable, own_links=own_links)


def ask_of(
    members: Mapping[str, Any],
    models: Mapping[str, ModelRules],
    *,
    usable: Sequence[str],
    own_links: tuple[str, ...] = (),
) -> GenerateAsk:
    """Read a request whose members are known; a reference may be the bytes of a file too. See `read_ask`."""
    _check_names(members)
    model, rules = _model(members, models, usable)
    fields = _Fields(members, model, rules)
    return GenerateAsk(
        model=model,
        prompt=fields.prompt(),
        aspect_ratio=fields.choice("aspect_ratio", "ratios", ASPECT_RATIOS),
        references=fields.references(own_links),
        width=(width := fields.side("width")),
        height=fields.height(width),
        seed=fields.seed(),
        safety_tolerance=fields.safety_tolerance(),
        output_format=fields.choice("output_format", "formats", OUTPUT_FORMATS),
    )


def _check_names(members: Mapping[str, Any]) -> None:
    if members.keys() <= _NAMES:
        return
    name = next(name for name in members if name not in _NAMES)
    if _NINTH_REFERENCE.fullmatch(name):
        raise violation.parameter(name, f"Maximum number of images: {MAX_REFERENCES}")
    raise violation.parameter(violation.echo(name), f"Supported parameters: {', '.join(FIELDS)}")


def _model(
    members: Mapping[str, Any], models: Mapping[str, ModelRules], usable: Sequence[str]
) -> tuple[str, ModelRules]:
    model = members.get("model")
    if not isinstance(model, str) or not model:
        raise violation.parameter("model", "A model name is required")
    rules = models.get(model)
    if rules is None:
        raise violation.parameter("model", f"Supported models: {', '.join(usable)}")
    return model, rules


@dataclass(frozen=True, slots=True)
class _Fields:
    """The members of a body whose model is known. Each method reads one field or raises Violation."""

    members: Mapping[str, Any]
    model: str
    rules: ModelRules

    def prompt(self) -> str:
        prompt = self.members.get("prompt")
        if not isinstance(prompt, str) or not prompt or prompt.isspace():
            raise violation.parameter("prompt", "A non-empty text is required")
        if len(prompt) > self.rules.prompt_chars_max:
            raise violation.parameter("prompt", f"Maximum length: {self.rules.prompt_chars_max} characters")
        if "\0" in prompt:  # which is also what the body's reader makes of a lone surrogate
            raise violation.parameter("prompt", "Valid Unicode text without NUL is required")
        return prompt

    def references(self, own_links: tuple[str, ...]) -> tuple[tuple[int, Reference], ...]:
        references: list[tuple[int, Reference]] = []
        for slot, name in enumerate(REFERENCE_FIELDS, start=1):
            if name not in self.members:
                continue
            if "input_image" not in self.rules.accepts or self.rules.images_max == 0:
                raise self._unsupported(name)
            if len(references) == self.rules.images_max:
                raise violation.parameter(name, f"Maximum number of images: {self.rules.images_max}")
            references.append((slot, read_reference(name, self.members[name], own_links)))
        return tuple(references)

    def choice(self, name: str, plural: str, choices: tuple[str, ...]) -> str | None:
        """Read a field that takes one of a few words, to the letter; null is none of them."""
        if name not in self.members:
            return None
        self._require_accepted(name)
        value = self.members[name]
        if not isinstance(value, str) or value not in choices:
            raise violation.parameter(name, f"Supported {plural}: {', '.join(choices)}")
        return value

    def side(self, name: str) -> int | None:
        value = self.members.get(name)
        if value is None:
            return None
        self._require_accepted(name)
        side, rules = read_integer(value), self.rules
        if side is None or side <= 0 or side % rules.multiple_of != 0:
            raise violation.parameter(name, f"Must be a positive multiple of {rules.multiple_of} or null")
        if side < rules.side_min or (rules.side_max != 0 and side > rules.side_max):
            raise violation.parameter(name, f"Supported range for {self.model}: {self._side_range()}")
        return side

    def height(self, width: int | None) -> int | None:
        """Read the height, then look at both sides: one that is left out counts as the smallest it could be."""
        height, most = self.side("height"), self.rules.pixels_max
        if most == 0 or (width is None and height is None):
            return height
        smallest = self.rules.smallest_side
        if (smallest if width is None else width) * (smallest if height is None else height) > most:
            blamed = "height" if width is None else "width"
            raise violation.parameter(blamed, f"Maximum output size for {self.model}: {most} pixels")
        return height

    def seed(self) -> int | None:
        value = self.members.get("seed")
        if value is None:
            return None
        self._require_accepted("seed")
        seed = read_integer(value)
        if seed is None:
            raise violation.parameter("seed", "Must be an integer or null")
        if seed not in SEEDS:
            raise violation.parameter("seed", f"Supported range: {SEEDS.start} to {SEEDS.stop - 1}")
        return seed

    def safety_tolerance(self) -> int | None:
        if "safety_tolerance" not in self.members:
            return None
        self._require_accepted("safety_tolerance")
        tolerance = read_integer(self.members["safety_tolerance"])
        if tolerance is None or tolerance not in SAFETY_TOLERANCES:
            levels = ", ".join(str(level) for level in SAFETY_TOLERANCES)
            raise violation.parameter("safety_tolerance", f"Supported values: {levels}")
        return tolerance

    def _require_accepted(self, name: str) -> None:
        if name not in self.rules.accepts:
            raise self._unsupported(name)

    def _unsupported(self, name: str) -> violation.Violation:
        return violation.parameter(name, f"Not supported by {self.model}")

    def _side_range(self) -> str:
        """Write the sides that the model takes: both ends are such sides."""
        smallest, largest = self.rules.smallest_side, self.rules.largest_side
        return f"{smallest} or more" if largest is None else f"{smallest} to {largest}"
