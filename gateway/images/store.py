"""Where images are kept: one protocol, two backends (`local`, `objects`), and the names of what is kept.

A kept image never changes: its name is made by the server, used once, and tells its type; so the name is also its
validator (ETag), and nothing but the size has to be asked of a store before it is served.

When the store is out of reach every method raises StoreUnavailable within 15 seconds (60 for an image of 32 MiB and
more); nothing is half kept: an image is there whole or not at all.
"""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

from gateway.ids import new_id
from gateway.images.inspect import MediaType

_NAME: Final = re.compile(r"[0-9a-z]{20,40}\.(png|jpg|webp)", re.ASCII)
_EXTENSIONS: Final[dict[MediaType, str]] = {"image/png": "png", "image/jpeg": "jpg", "image/webp": "webp"}
_MEDIA_TYPES: Final[dict[str, MediaType]] = {extension: type_ for type_, extension in _EXTENSIONS.items()}


class Trouble(StrEnum):
    """Why a store is unavailable, as far as the operator's next step differs."""

    REFUSED = "credential refused"
    NO_BUCKET = "no such bucket or directory"
    FULL = "no space left"
    UNREACHABLE = "unreachable"


class StoreUnavailable(Exception):
    """The store cannot keep, give or forget images now. `trouble` and `detail` are private: for logs, not callers."""

    def __init__(self, trouble: Trouble, detail: str) -> None:
        self.trouble = trouble
        self.detail = detail
        super().__init__(f"{trouble} ({detail})")


@dataclass(frozen=True, slots=True)
class ImageName:
    """A name that this gateway may have made: `{20-40 of 0-9 a-z}.{png,jpg,webp}`, its parts told apart."""

    text: str
    media_type: MediaType
    shard: str
    """Two characters of the random part, for stores that spread their files over directories."""

    @property
    def etag(self) -> str:
        """A strong validator (RFC 9110, 8.8.3), quotes included: what a name stands for never changes."""
        return f'"{self.text}"'


def image_name(media_type: MediaType) -> str:
    """Make the name of a new image: the time, 80 random bits and the type's extension."""
    return f"{new_id('img').removeprefix('img_')}.{_EXTENSIONS[media_type]}"


def parse_name(text: str) -> ImageName | None:
    """Tell what a name says, or None for any text that no image can have: paths, other types, other alphabets."""
    match = _NAME.fullmatch(text)
    if match is None:
        return None
    stem = text[: match.start(1) - 1]
    return ImageName(text, _MEDIA_TYPES[match[1]], stem[-2:])


class StoredImage(Protocol):
    """A kept image, ready to be read; holds nothing open, so it needs no closing."""

    @property
    def name(self) -> ImageName:
        """Its name, with media type and ETag."""
        ...

    @property
    def size(self) -> int:
        """Its length in bytes."""
        ...

    def read(self, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """Yield the bytes from `start` up to, not including, `end` (None: the last), in pieces of at most 1 MiB.

        Needs 0 <= start <= end <= size. Raises StoreUnavailable, also when the image was deleted meanwhile.
        """
        ...


class Store(Protocol):
    """Keeps images by name. Every method raises StoreUnavailable when the store is out of reach."""

    async def put(self, name: str, image: bytes) -> None:
        """Keep an image durably under a name of `image_name`. Repeating it with the same bytes changes nothing.

        Raises ValueError for any other name.
        """
        ...

    async def open(self, name: str) -> StoredImage | None:
        """Find an image; None when there is none of this name, or the name is none."""
        ...

    async def delete(self, name: str) -> None:
        """Forget an image; no error when there is none of this name."""
        ...

    async def check(self) -> None:
        """Write a few bytes where images go: returns when an image could be kept now."""
        ...

    async def sweep(self) -> int:
        """Remove what writers left unfinished when they died, an hour ago or earlier; return how many files."""
        ...

    async def close(self) -> None:
        """Let go of the store's resources. Needed before the process ends; nothing may be called after it."""
        ...
