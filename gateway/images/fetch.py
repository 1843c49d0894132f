"""Fetching the images that upstream's answer links to: the URL is upstream's word, so every step of it is guarded.

https only (but at the operator's exceptions), at most three redirects, each checked like the first URL; no cookie, no
key, no proxy of the environment; size and time are counted while the bytes come in. A link may not work yet when it
is handed out, and its image has been paid for: what may pass is tried again within the same deadline.
"""

import asyncio
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from urllib.parse import urljoin

import aiohttp

from gateway.aside import aside
from gateway.guard import AddressRefused, Guard, open_session
from gateway.images.inspect import MAX_BYTES
from gateway.inflate import inflate
from gateway.pieces import Pieces

_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_MAY_PASS: Final = frozenset({403, 404, 408, 410, 425, 429, 500, 502, 503, 504})
_OK: Final = 200
_CONNECTIONS_MAX: Final = 512
_OFF_LOOP: Final = 4 << 20
_ENCODINGS: Final = frozenset({"identity", "gzip", "deflate"})


class Failure(StrEnum):
    """Why an image could not be fetched."""

    REFUSED = "refused address"
    STATUS = "status"
    TOO_LARGE = "too large"
    TIMEOUT = "timeout"
    BROKEN = "broken"


class FetchFailed(Exception):
    """An image could not be fetched. `status` is the last HTTP status, if there was one; `detail` names the error.

    Quotes no URL, since a link may carry its own permission.
    """

    def __init__(self, reason: Failure, status: int | None = None, detail: str | None = None) -> None:
        self.reason = reason
        self.status = status
        self.detail = detail
        super().__init__(", ".join(str(part) for part in (reason, status, detail) if part is not None))

    @property
    def may_pass(self) -> bool:
        """Whether the same fetch may work a moment later."""
        if self.reason is Failure.STATUS:
            return self.status in _MAY_PASS
        return self.reason is Failure.BROKEN


@dataclass(frozen=True, slots=True)
class FetchLimits:
    """What one fetch may take, redirects and repeated tries included."""

    bytes: int = MAX_BYTES
    seconds: float = 60.0
    redirects: int = 3
    waits: Sequence[float] = (1.0, 3.0)
    """Seconds before the second, third, ... try."""


class Fetcher:
    """Fetches images over pooled connections. To be closed; belongs to one event loop."""

    def __init__(self, guard: Guard, limits: FetchLimits | None = None) -> None:
        """Take the guard and the limits; nothing is opened before the first fetch."""
        self._guard = guard
        self._limits = FetchLimits() if limits is None else limits
        self._session: aiohttp.ClientSession | None = None

    async def fetch(self, url: str) -> bytes:
        """Fetch the bytes that a URL leads to, whatever they are. Raises FetchFailed."""
        try:
            async with asyncio.timeout(self._limits.seconds):
                return await self._patiently(url)
        except TimeoutError:
            raise FetchFailed(Failure.TIMEOUT) from None

    async def close(self) -> None:
        """Close every connection."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _patiently(self, url: str) -> bytes:
        for wait in self._limits.waits:
            try:
                return await self._follow(url)
            except FetchFailed as failed:
                if not failed.may_pass:
                    raise
            await asyncio.sleep(wait)
        return await self._follow(url)

    async def _follow(self, url: str) -> bytes:
        status: int | None = None
        for _ in range(self._limits.redirects + 1):
            try:
                target = self._guard.target(url)
                async with self._opened().get(target.url, allow_redirects=False) as answer:
                    status = answer.status
                    if status not in _REDIRECTS:
                        return await self._body(answer)
                    url = _joined(str(target.url), answer.headers.get("Location", ""))
            except AddressRefused:
                raise FetchFailed(Failure.REFUSED, status) from None
            except (aiohttp.ClientError, OSError, EOFError, ValueError, zlib.error) as error:
                # The error's own text may hold the URL, so its kind alone is told.
                raise FetchFailed(Failure.BROKEN, status, type(error).__name__) from None
        raise FetchFailed(Failure.STATUS, status)

    async def _body(self, answer: aiohttp.ClientResponse) -> bytes:
        if answer.status != _OK:
            raise FetchFailed(Failure.STATUS, answer.status)
        if (answer.content_length or 0) > self._limits.bytes:
            raise FetchFailed(Failure.TOO_LARGE, answer.status)
        encoding = answer.headers.get("Content-Encoding", "identity").strip().lower()
        if encoding not in _ENCODINGS:
            raise FetchFailed(Failure.BROKEN, answer.status, "Content-Encoding")
        body = Pieces()
        async for piece in answer.content.iter_any():
            body.add(piece)
            if body.size > self._limits.bytes:
                raise FetchFailed(Failure.TOO_LARGE, answer.status)
        if encoding == "identity":
            return await aside(body.together) if body.size > _OFF_LOOP else body.together()
        # Compressed although "identity" was asked for, as some stores do with what they were given so.
        plain = await aside(lambda: inflate(body.together(), self._limits.bytes))
        if plain is None:
            raise FetchFailed(Failure.TOO_LARGE, answer.status)
        return plain

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            headers = {"Accept": "image/*", "Accept-Encoding": "identity"}
            self._session = open_session(self._guard, limit=_CONNECTIONS_MAX, headers=headers)
        return self._session


def _joined(url: str, location: str) -> str:
    """Join as text, to be read again: what is checked next is what is connected to next. Raises AddressRefused."""
    try:
        return urljoin(url, location)
    except ValueError:
        raise AddressRefused("a redirect to no URL") from None
