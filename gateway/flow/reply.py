"""The reply: what a caller gets for a generation, before links are made of its images."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import orjson

from gateway.money import Micros

ImageKind: TypeAlias = Literal["url", "base64"]
"""The form in which upstream gave an image."""


@dataclass(frozen=True, slots=True)
class KeptImage:
    """An image whose bytes are in the store, or on their way to it.

    `content`, and `link` if upstream gave one, are there while they are at hand: in the first reply alone.
    """

    kind: ImageKind
    name: str
    media_type: str
    size: int
    width: int
    height: int
    sha256: str
    revised_prompt: str | None
    content: bytes | None = field(default=None, repr=False, compare=False)
    link: str | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class PassedImage:
    """An image that is not kept, as upstream sent it: nothing is to be kept, or the store failed."""

    kind: ImageKind
    image: str = field(repr=False)
    media_type: str | None
    revised_prompt: str | None


Origin: TypeAlias = Literal["generated", "replayed", "hit", "collapsed"]
"""Made for this request; or, charged nothing: its idempotency key's, the cache's, or an identical request's."""

ReplyImage: TypeAlias = KeptImage | PassedImage


@dataclass(frozen=True, slots=True)
class Reply:
    """What one generation gave. `cost` is what this caller is charged for this reply."""

    generation_id: str
    model: str
    provider: str
    images: Sequence[ReplyImage]
    images_failed: int
    cost: Micros
    origin: Origin = "generated"

    @property
    def passed(self) -> bool:
        """Whether an image is not kept."""
        return any(isinstance(image, PassedImage) for image in self.images)


@dataclass(frozen=True, slots=True)
class Accepted:
    """What an asynchronous caller gets: the generation is accounted for, and found by its id."""

    generation_id: str
    work: "asyncio.Task[Any] | None" = None
    """What goes on in this process for it; None if an earlier request began it."""


def to_text(reply: Reply, *, prompts: bool) -> str:
    """Write a reply for its ledger row: names of kept images, never bytes or upstream's links.

    Without `prompts` the rewritten ones, which say what the caller's said, are left out too.
    """
    return orjson.dumps(
        {
            "model": reply.model,
            "provider": reply.provider,
            "images_failed": reply.images_failed,
            "images": [_image_fields(image, prompts=prompts) for image in reply.images if isinstance(image, KeptImage)],
        }
    ).decode()


def from_text(text: str, generation_id: str, origin: Origin) -> Reply:
    """Read a reply that `to_text` wrote. It is charged nothing: the generation was paid once."""
    fields: dict[str, Any] = orjson.loads(text)
    images = [KeptImage(**image) for image in fields["images"]]
    return Reply(generation_id, fields["model"], fields["provider"], images, fields["images_failed"], 0, origin)


def _image_fields(image: KeptImage, *, prompts: bool) -> dict[str, Any]:
    return {
        "kind": image.kind,
        "name": image.name,
        "media_type": image.media_type,
        "size": image.size,
        "width": image.width,
        "height": image.height,
        "sha256": image.sha256,
        "revised_prompt": image.revised_prompt if prompts else None,
    }
