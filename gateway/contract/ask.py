"""The ask: one validated request, frozen. What is not in it does not reach upstream."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import orjson

MAX_REFERENCES = 8
"""The document's limit: one main image and seven more."""

REFERENCE_FIELDS = ("input_image", *(f"input_image_{slot}" for slot in range(2, MAX_REFERENCES + 1)))
"""Names of the reference images by slot: the first is slot 1."""

FIELDS = (
    "model",
    "prompt",
    "aspect_ratio",
    *REFERENCE_FIELDS,
    "width",
    "height",
    "seed",
    "safety_tolerance",
    "output_format",
)
"""Every field of a request, in the document's order, which is also the order in which faults are found."""

OPTIONS = ("aspect_ratio", "input_image", "width", "height", "seed", "safety_tolerance", "output_format")
"""What a model may accept beyond `model` and `prompt`; `input_image` stands for all eight slots."""

_CANONICAL_VERSION = b"ask/1\n"


@dataclass(frozen=True, slots=True)
class ModelRules:
    """What one model accepts. Sizes are in pixels; 0 means no limit of that kind."""

    name: str
    """The catalog's name of the model, whatever alias the caller wrote."""
    accepts: frozenset[str]
    """Names out of OPTIONS."""
    images_max: int
    side_min: int
    side_max: int
    pixels_max: int
    """The largest width × height."""
    multiple_of: int
    prompt_chars_max: int

    @property
    def smallest_side(self) -> int:
        """The smallest side there is."""
        return max(-(-self.side_min // self.multiple_of), 1) * self.multiple_of

    @property
    def largest_side(self) -> int | None:
        """The largest side there is, if the other one is the smallest; None without a limit."""
        limits = [limit for limit in (self.side_max, self.pixels_max // self.smallest_side) if limit != 0]
        return min(limits) // self.multiple_of * self.multiple_of if limits else None


@dataclass(frozen=True, slots=True)
class ReferenceBytes:
    """A reference image whose bytes are at hand."""

    base64: str = field(repr=False)
    """Canonical: the standard alphabet, padded, without prefix or white space."""
    sha256: str
    """Of the decoded bytes, in hexadecimal."""
    media_type: str
    size: int
    """Bytes of the decoded file."""
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class ReferenceLink:
    """A reference image that upstream is to fetch, or (`own`) a link of this gateway, whose bytes are kept here."""

    url: str
    own: bool

    @property
    def image(self) -> str:
        """The last part of the path: in a link of this gateway the name of an image."""
        return self.url.partition("?")[0].rpartition("/")[2]


Reference: TypeAlias = ReferenceBytes | ReferenceLink


@dataclass(frozen=True, slots=True)
class GenerateAsk:
    """A request that keeps the contract. None means that the caller left the field out, or set it to null."""

    model: str
    """As the caller wrote it: a name or an alias of the catalog."""
    prompt: str
    aspect_ratio: str | None = None
    references: tuple[tuple[int, Reference], ...] = ()
    """Each with its slot, 1 to 8, ascending. Gaps are kept: prompts speak of "image 3"."""
    width: int | None = None
    height: int | None = None
    seed: int | None = None
    safety_tolerance: int | None = None
    output_format: str | None = None

    def wire(self) -> dict[str, object]:
        """Return the request as upstream is to get it: what the caller gave, no defaults, no nulls, bare Base64."""
        return dict(self._given(_on_the_wire))

    def canonical(self) -> bytes:
        """Return the same bytes for the same ask, and others for any other, to take a fingerprint of.

        Images count by their bytes, links by their text. A field left out differs from its documented default, since
        upstream may treat the two differently. The first line is a version, the second JSON.
        """
        return _CANONICAL_VERSION + orjson.dumps(dict(self._given(_by_content)))

    def with_reference(self, slot: int, kept: ReferenceBytes) -> "GenerateAsk":
        """Return the ask with the reference in that slot replaced: a link of this gateway by the bytes it names.

        Raises KeyError if the slot is empty.
        """
        if all(slot != taken for taken, _ in self.references):
            raise KeyError(slot)
        return replace(
            self,
            references=tuple((taken, kept if taken == slot else reference) for taken, reference in self.references),
        )

    def _given(self, shown: Callable[[Reference], str]) -> Iterator[tuple[str, object]]:
        yield "model", self.model
        yield "prompt", self.prompt
        if self.aspect_ratio is not None:
            yield "aspect_ratio", self.aspect_ratio
        for slot, reference in self.references:
            yield REFERENCE_FIELDS[slot - 1], shown(reference)
        for name in ("width", "height", "seed", "safety_tolerance", "output_format"):
            if (value := getattr(self, name)) is not None:
                yield name, value


def _on_the_wire(reference: Reference) -> str:
    return reference.base64 if isinstance(reference, ReferenceBytes) else reference.url


def _by_content(reference: Reference) -> str:
    if isinstance(reference, ReferenceBytes):
        return f"sha256:{reference.sha256}"
    # A link of this gateway is made anew for each reply; the image that it names never changes.
    return f"own:{reference.image}" if reference.own else f"url:{reference.url}"
