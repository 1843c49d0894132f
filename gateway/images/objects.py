"""The store at scale: a bucket of S3, Google Cloud Storage or Azure, through obstore (the Rust object_store).

Below 32 MiB an image goes in a single request, three tries within 15 seconds; above, in parts within 60. Correctness
never rests on conditional writes, which self-hosted stores get wrong: a name is written once, by whoever made it.
Credentials are those of each cloud's usual environment variables, handed in by the caller; what is absent there
(instance roles, workload identity) the library finds by itself.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final, TypeAlias, TypeVar
from urllib.parse import urlsplit

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
_RETRY: Final[Any] = {
    "max_retries": 2,
    "retry_timeout": timedelta(seconds=_SECONDS),
    "backoff": {"init_backoff": timedelta(milliseconds=200), "max_backoff": timedelta(seconds=3), "base": 2},
}
_SHARED_SETTINGS: Final = {
    "s3": (
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_REGION",
        "AWS_DEFAULT_REGION",
        "AWS_ENDPOINT_URL",
        "AWS_ENDPOINT_URL_S3",
        "AWS_VIRTUAL_HOSTED_STYLE_REQUEST",
        "AWS_UNSIGNED_PAYLOAD",
        "AWS_SERVER_SIDE_ENCRYPTION",
        "AWS_SSE_KMS_KEY_ID",
        "AWS_ROLE_ARN",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    ),
    "gs": (
        "GOOGLE_APPLICATION_CREDENTIALS",
        "GOOGLE_SERVICE_ACCOUNT",
        "GOOGLE_SERVICE_ACCOUNT_KEY",
        "GOOGLE_BASE_URL",
        "GOOGLE_SKIP_SIGNATURE",
    ),
    "az": (
        "AZURE_STORAGE_ACCOUNT_NAME",
        "AZURE_STORAGE_ACCOUNT_KEY",
        "AZURE_STORAGE_SAS_TOKEN",
        "AZURE_STORAGE_ENDPOINT",
        "AZURE_STORAGE_USE_EMULATOR",
        "AZURE_CLIENT_ID",
        "AZURE_CLIENT_SECRET",
        "AZURE_TENANT_ID",
        "AZURE_FEDERATED_TOKEN_FILE",
    ),
}
_ENDPOINTS: Final = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "GOOGLE_BASE_URL", "AZURE_STORAGE_ENDPOINT")


def open_bucket(url: str, environ: Mapping[str, str]) -> "ObjectStore":
    """Describe a bucket by `s3://bucket/prefix`, `gs://bucket/prefix` or `az://container/prefix`; contacts nothing.

    Of `environ` only the cloud's own variables are used. An `http://` endpoint in them is taken as meant.
    Raises ValueError for another URL, or settings that the library refuses.
    """
    parts = urlsplit(url)
    if parts.scheme not in _SHARED_SETTINGS or not parts.netloc or parts.query or parts.fragment:
        raise ValueError("an object store is named s3://bucket/prefix, gs://bucket/prefix or az://container/prefix")
    config: Any = {key: environ[key] for key in _SHARED_SETTINGS[parts.scheme] if environ.get(key)}
    client: Any = {
        "connect_timeout": "3s",
        "timeout": f"{_SECONDS_LARGE:.0f}s",
        "allow_http": any(config.get(key, "").startswith("http://") for key in _ENDPOINTS),
    }
    prefix = parts.path.strip("/") or None
    bucket: Bucket
    try:
        match parts.scheme:
            case "s3":
                bucket = S3Store(parts.netloc, prefix=prefix, config=config, client_options=client, retry_config=_RETRY)
            case "gs":
                bucket = GCSStore(
                    parts.netloc, prefix=prefix, config=config, client_options=client, retry_config=_RETRY
                )
            case _:
                bucket = AzureStore(
                    parts.netloc, prefix=prefix, config=config, client_options=client, retry_config=_RETRY
                )
    except BaseError as error:
        raise ValueError(f"the object store's settings are refused: {_plain(error)}") from None
    return ObjectStore(bucket)


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
            _SECONDS_LARGE if large else _SECONDS,
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


async def _answered(call: Awaitable[T], seconds: float = _SECONDS) -> T:
    """Wait for the store's answer, and translate every way in which it can fail."""
    try:
        async with asyncio.timeout(seconds):
            return await call
    except TimeoutError as error:
        raise StoreUnavailable(Trouble.UNREACHABLE, f"no answer within {seconds:.0f} seconds") from error
    except (BaseError, OSError) as error:
        detail = _plain(error)
        if isinstance(error, FileNotFoundError) and not _NO_BUCKET.search(detail):
            raise _Absent(Trouble.NO_BUCKET, detail) from error
        raise StoreUnavailable(_trouble(error, detail), detail) from error


def _trouble(error: BaseError | OSError, detail: str) -> Trouble:
    if _NO_BUCKET.search(detail):
        return Trouble.NO_BUCKET
    if isinstance(error, PermissionDeniedError | UnauthenticatedError) or _REFUSED.search(detail):
        return Trouble.REFUSED
    return Trouble.UNREACHABLE


def _plain(error: BaseException) -> str:
    """Cut the library's text to its first part, without query strings (a signature may be in one)."""
    return re.sub(r"\?[^\s\"')]*", "?…", str(error).partition("Debug source:")[0])[:400].strip()
