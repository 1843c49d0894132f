"""Cross-origin requests (the Fetch Standard's CORS protocol): whose pages may call, and what they may read.

A preflight names no key, so it is answered by the origins of all tenants; the request itself must come from one of its
caller's own (`api/who.py`). Nothing is ever allowed with credentials: there are none but the key, which the page sends.
https://fetch.spec.whatwg.org/#http-cors-protocol
"""

import re
from typing import TypeAlias

from starlette.responses import Response
from starlette.types import Scope

from gateway.contract.violation import echo
from gateway.errors import Forbidden
from gateway.tenants.origins import Origins

Headers: TypeAlias = tuple[tuple[bytes, bytes], ...]

EXPOSED = (
    "Age",
    "Cache-Status",
    "Idempotent-Replayed",
    "Location",
    "Preference-Applied",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "X-Cost-Yuan",
    "X-Generation-Id",
    "X-Image-Kept",
    "X-Request-Id",
    "X-Should-Retry",
)
"""Answer headers that a page may read, beside those that any page may."""

TAKEN = (
    "Authorization",
    "Cache-Control",
    "Content-Type",
    "Idempotency-Key",
    "Last-Event-ID",
    "Prefer",
    "X-Image-Format",
    "X-Request-Id",
    "traceparent",
)
"""Request headers that a page may send."""

_SDK_HEADER = re.compile(r"(?:x-stainless|openai)-[a-z-]{1,40}", re.ASCII)
"""What OpenAI's SDKs say of themselves; the list grows with each release."""

_VARY: Headers = ((b"vary", b"Origin"),)
_EXPOSED = ", ".join(EXPOSED).encode()
_PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, HEAD, POST",
    "Access-Control-Max-Age": "600",
    "Vary": "Access-Control-Request-Headers",
}


class Pages:
    """Meets the requests that browsers make for pages. `own` is the origin of this gateway itself."""

    def __init__(self, own: str, origins: Origins) -> None:
        self._own = own
        self._origins = origins

    async def meet(self, scope: Scope, origin: str) -> Response | None:
        """Return the answer to a preflight, None for what is to go on. Raises Forbidden, LedgerUnavailable.

        The origin of an allowed page is left in `scope["state"]["page"]`, unless it is the gateway's own.
        """
        if answers_everybody(scope["path"]) or self._is_own(scope, origin):
            return None
        if answers_no_page(scope["path"]) or not await self._origins.allow(origin):
            raise Forbidden(f"Origin {echo(origin)} is not allowed")
        scope["state"]["page"] = origin
        if scope["method"] != "OPTIONS" or header_of(scope, b"access-control-request-method") is None:
            return None
        asked = header_of(scope, b"access-control-request-headers")
        return Response(status_code=204, headers=_PREFLIGHT | {"Access-Control-Allow-Headers": _taken(asked)})

    def _is_own(self, scope: Scope, origin: str) -> bool:
        """Whether the page is the gateway's: by its public address, or by the one that it was reached at."""
        host = header_of(scope, b"host")
        return origin in {self._own, f"http://{host}", f"https://{host}"}


def answers_everybody(path: str) -> bool:
    """Whether it is a kept image, which says itself that any page may read it: its link is the permission."""
    return path.startswith("/images/") and path != "/images/generate"


def answers_no_page(path: str) -> bool:
    """Whether it is what operators do, which no page is let near."""
    return path.startswith("/admin/")


def readable(scope: Scope) -> Headers:
    """Return the headers by which the page may read an answer, an error as well; and caches tell pages apart."""
    if answers_everybody(scope["path"]):
        return ()
    page = scope["state"].get("page")
    if page is None:
        return _VARY
    return (
        *_VARY,
        (b"access-control-allow-origin", page.encode("latin-1")),
        (b"access-control-expose-headers", _EXPOSED),
    )


def header_of(scope: Scope, name: bytes) -> str | None:
    """Return the first header of that name."""
    for found, value in scope["headers"]:
        if found == name:
            return str(value, "latin-1")
    return None


def _taken(asked: str | None) -> str:
    names = () if asked is None else (name.strip().lower() for name in asked.split(",")[:50])
    return ", ".join([*TAKEN, *(name for name in names if _SDK_HEADER.fullmatch(name))])
