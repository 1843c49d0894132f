"""`GET /images/{name}`: a kept image by its link. The link is the permission, so any page may read it.

Conditional and range requests as in RFC 9110, 13 and 14: a name never stands for other bytes, so it is the validator.
"""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from gateway import clock
from gateway.api.errors import AnswerCut
from gateway.errors import (
    Forbidden,
    LedgerUnavailable,
    MethodNotAllowed,
    NotFound,
    RangeNotSatisfiable,
    Unavailable,
)
from gateway.images.links import LinkInvalid, Links
from gateway.images.spooled import on_its_way
from gateway.images.store import Store, StoredImage, StoreUnavailable
from gateway.ledger.ledger import Ledger

SAFE_HEADERS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Expose-Headers": "Content-Length, Content-Range, ETag, X-Request-Id",
    "Content-Disposition": "inline",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cross-Origin-Resource-Policy": "cross-origin",
    "X-Content-Type-Options": "nosniff",
}
"""An image can never act as a page, whatever its bytes are."""

_RANGE = re.compile(r"bytes=(\d{0,19})-(\d{0,19})", re.ASCII)


@dataclass(frozen=True, slots=True)
class ImagesRoute:
    """Serves what is kept."""

    links: Links
    store: Store | None
    ledger: Ledger

    def router(self) -> APIRouter:
        """Return the route."""
        router = APIRouter()
        router.add_api_route("/images/{name}", self.image, methods=["GET", "HEAD"], response_model=None)
        router.add_api_route("/images/{name}", self.preflight, methods=["OPTIONS"], response_model=None)
        router.add_api_route("/images/{name}", self.nothing, methods=["POST"], response_model=None)
        return router

    async def image(self, request: Request, name: str) -> Response:
        """Serve an image, or a part of it."""
        _refuse_endpoint(name)
        query = request.query_params
        try:
            seconds = self.links.check(name, query.get("e"), query.get("s"), clock.now())
        except LinkInvalid as error:
            raise Forbidden("The link is invalid or expired", detail=str(error), headers=SAFE_HEADERS) from None
        image = await self._kept(name)
        headers = SAFE_HEADERS | {
            "ETag": image.name.etag,
            "Cache-Control": f"private, max-age={seconds}, immutable",
            "Accept-Ranges": "bytes",
        }
        if _matches(request.headers.get("if-none-match"), image.name.etag):
            return Response(status_code=304, headers=headers)
        return _serve(request, image, headers)

    async def _kept(self, name: str) -> StoredImage:
        """Find an image. One that is kept, but cannot be had now, is never said not to be there."""
        try:
            image = None if self.store is None else await self.store.open(name)
            if image is not None:
                return image
            record = await self.ledger.image(name)
        except (StoreUnavailable, LedgerUnavailable) as error:
            raise Unavailable(
                "The image store is temporarily unavailable", detail=str(error), headers=SAFE_HEADERS
            ) from error
        if record is not None and not record.erased and on_its_way(record.created_at, clock.now()):
            raise Unavailable("The image is on its way to the store", headers=SAFE_HEADERS)
        raise NotFound("There is no such image", headers=SAFE_HEADERS)

    async def preflight(self, name: str) -> Response:
        """Let a page ask for a range of an image."""
        _refuse_endpoint(name)
        return Response(
            status_code=204,
            headers={
                "Access-Control-Allow-Origin": "*",
                "Access-Control-Allow-Methods": "GET, HEAD",
                "Access-Control-Allow-Headers": "Range, If-None-Match, If-Range",
                "Access-Control-Max-Age": "86400",
            },
        )

    async def nothing(self, name: str) -> Response:
        """Answer a misspelt endpoint: images are not posted to."""
        del name
        raise NotFound


def _refuse_endpoint(name: str) -> None:
    """Keep `POST /images/generate` apart: it stands among the names, and no image has its name."""
    if name == "generate":
        raise MethodNotAllowed(headers={"Allow": "POST"})


def _serve(request: Request, image: StoredImage, headers: dict[str, str]) -> Response:
    start, end, status = 0, image.size, 200
    asked = request.headers.get("range")
    if_range = request.headers.get("if-range")
    if asked is not None and request.method == "GET" and (if_range is None or if_range == image.name.etag):
        part = _part(asked, image.size)
        if part is not None:
            (start, end), status = part, 206
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{image.size}"
    headers["Content-Length"] = str(end - start)
    if request.method == "HEAD":
        return Response(status_code=status, headers=headers, media_type=image.name.media_type)
    return StreamingResponse(
        _pieces(image, start, end), status_code=status, headers=headers, media_type=image.name.media_type
    )


async def _pieces(image: StoredImage, start: int, end: int) -> AsyncIterator[bytes]:
    """Read an image. Raises AnswerCut if it is erased, or its store goes, meanwhile: the headers have left by then."""
    try:
        async for piece in image.read(start, end):
            yield piece
    except StoreUnavailable as error:
        raise AnswerCut(f"the answer was cut: {error}") from error


def _part(asked: str, size: int) -> tuple[int, int] | None:
    """Return start and end of the range that is asked for, None to send all: several ranges, or no byte range.

    Raises RangeNotSatisfiable.
    """
    match = _RANGE.fullmatch(asked.strip())
    if match is None or match[0] == "bytes=-":
        return None
    if not match[1]:
        start, end = max(0, size - int(match[2])), size
    else:
        start = int(match[1])
        end = size if not match[2] else min(size, int(match[2]) + 1)
        if match[2] and int(match[2]) < start:
            return None
    if start >= end:
        raise RangeNotSatisfiable(headers=SAFE_HEADERS | {"Content-Range": f"bytes */{size}"})
    return start, end


def _matches(if_none_match: str | None, etag: str) -> bool:
    if if_none_match is None:
        return False
    offered = [one.strip().removeprefix("W/") for one in if_none_match.split(",")]
    return "*" in offered or etag in offered
