"""The store at scale: a bucket of S3, Google Cloud Storage or Azure, through obstore (the Rust object_store).

Below 32 MiB an image goes in a single request, three tries within 15 seconds; above, in parts within 60. Correctness
never rests on conditional writes, which self-hosted stores get wrong: a name is written once, by whoever made it.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final, TypeAlias, TypeVar

import obstore
from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import AzureStore, GCSStore, S3Store

from gateway.images.store import ImageName, StoreUnavailable, Trouble, parse_name

Bucket: TypeAlias = S3Store | GCSStore | AzureStore
T = TypeVar("T")

_SINGLE_PUT: Final = 32 << 20
_PIECE: Final = 1 << 20
_SECONDS: Final = 15.0
_SECONDS_LARGE: Final = 60.0
_CACHE_CONTROL: Final = "public, max-age=31536000, immutable"
_PROBE: Final = "gateway-check"  # one key, written again and again; it is no image's name
# The library gives only some answers a class of their own; for the others its text is all there is.
_NO_BUCKET: Final = re.compile("NoSuchBucket|InvalidBucketName|ContainerNotFound|bucket does not exist")
_REFUSED: Final = re.compile("status code: 4(?!08|29)")
_PRIVATE: Final = re.compile(r"(?<=\?)[^\s\"')]+|(?<=string )\"[^\"]*\"")  # a signed query; a value of a wrong type


class ObjectStore:
    """A Store in a bucket."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    async def put(self, name: str, image: bytes) -> None:
        """Keep an image, with its Content-Type and a Cache-Control for whoever serves the bucket directly."""
        parsed = parse_name(name)
        if parsed is None:
            raise ValueError(f"not the name of an image: {name!r}")
        attributes = {"Content-Type": parsed.media_type, "Cache-Control": _CACHE_CONTROL}
        large = len(image) >= _SINGLE_PUT
        await _answered(
            obstore.put_async(self._bucket, parsed.text, image, attributes=attributes, use_multipart=large),
            _SECONDS_LARGE if large else None,
        )

    async def open(self, name: str) -> "ObjectImage | None":
        """Find an image by its name."""
        parsed = parse_name(name)
        if parsed is None:
            return None
        try:
            meta = await _answered(obstore.head_async(self._bucket, parsed.text))
        except _Absent:
            return None
        return ObjectImage(parsed, meta["size"], self._bucket)

    async def delete(self, name: str) -> None:
        """Remove an image (in a bucket with versions, its current version)."""
        parsed = parse_name(name)
        if parsed is not None:
            try:
                await _answered(obstore.delete_async(self._bucket, parsed.text))
            except _Absent:
                return

    async def check(self) -> None:
        """Write a few bytes under a fixed key: needs no permission that keeping an image does not need."""
        await _answered(obstore.put_async(self._bucket, _PROBE, b"check", use_multipart=False))

    async def sign(self, name: str, seconds: int) -> str | None:
        """Make a link to the bucket itself that works for so long (S3: at most a week); None for no name."""
        parsed = parse_name(name)
        if parsed is None:
            return None
        return await _answered(obstore.sign_async(self._bucket, "GET", parsed.text, timedelta(seconds=seconds)))

    async def sweep(self) -> int:
        """Do nothing: parts of an upload that was cut off are hidden, and the bucket's lifecycle rule removes them."""
        return 0

    async def close(self) -> None:
        """Give the library's threads the moment that they need to let go of the interpreter.

        A call's thread takes the interpreter lock once more after its result has arrived; when the process ends in
        that moment, CPython before 3.14 aborts it (https://github.com/PyO3/pyo3-async-runtimes/issues/40). Measured:
        5 of 40 processes that ended right after a call, none of 120 that waited at all.
        """
        await asyncio.sleep(0.05)


@dataclass(frozen=True, slots=True)
class ObjectImage:
    """A StoredImage in a bucket."""

    name: ImageName
    size: int
    _bucket: Bucket = field(repr=False)

    async def read(self, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """Yield the bytes from `start` up to `end`: one ranged request a piece, none for an empty range."""
        end = self.size if end is None else end
        while start < end:
            stop = min(start + _PIECE, end)
            piece = await _answered(obstore.get_range_async(self._bucket, self.name.text, start=start, end=stop))
            start = stop
            yield bytes(piece)


class _Absent(StoreUnavailable):
    """There is no such object; where that is an answer, it is caught."""


async def _answered(call: Awaitable[T], seconds: float | None = None) -> T:
    """Wait for the store's answer, and translate every way in which it can fail."""
    seconds = _SECONDS if seconds is None else seconds
    try:
        async with asyncio.timeout(seconds):
            return await call
    except TimeoutError:
        raise StoreUnavailable(Trouble.UNREACHABLE, f"no answer within {seconds:.0f} seconds") from None
    except (BaseError, OSError) as error:
        detail = plain(error)
        if isinstance(error, FileNotFoundError) and not _NO_BUCKET.search(detail):
            raise _Absent(Trouble.NO_BUCKET, detail) from None
        raise StoreUnavailable(_trouble(error, detail), detail) from None  # its own text may hold a signed URL


def _trouble(error: BaseError | OSError, detail: str) -> Trouble:
    if _NO_BUCKET.search(detail):
        return Trouble.NO_BUCKET
    if isinstance(error, PermissionDeniedError | UnauthenticatedError) or _REFUSED.search(detail):
        return Trouble.REFUSED
    return Trouble.UNREACHABLE


def plain(error: BaseException) -> str:
    """Cut the library's text of an error to its first part, without what may be secret in it."""
    return _PRIVATE.sub("…", str(error).partition("Debug source:")[0])[:400].strip()
