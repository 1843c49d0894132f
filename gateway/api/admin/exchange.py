"""What every admin resource shares: strict reading of the body, one form of answer.

A name that is not expected is refused: a misspelt filter must not choose everything.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.api.body import read_body
from gateway.api.query import refuse_unknown
from gateway.contract import Violation, is_plain_json
from gateway.contract.body import read_members
from gateway.errors import InvalidRequest, UnsupportedMediaType

CAP_MIB = 0.25

Handler = Callable[[Request], Awaitable[Response]]
Tell: TypeAlias = Callable[[str], Awaitable[None]]
"""Tells all processes, after the commit, that something of the tenant of that name was changed."""


def resource(path: str, **methods: Handler) -> Route:
    """Make the route of a path: `resource("/tenants", GET=…, POST=…)`."""

    async def answer_method(request: Request) -> Response:
        return await methods["GET" if request.method == "HEAD" else request.method](request)

    return Route(path, answer_method, methods=[*methods])


def answer(value: Any, status: int = 200) -> Response:
    """Answer JSON that nobody may store: it may hold a key."""
    headers = {"Cache-Control": "no-store"}
    return Response(orjson.dumps(value), status, media_type="application/json", headers=headers)


async def read_object(request: Request) -> dict[str, Any]:
    """Return the members of the body. Raises InvalidRequest, UnsupportedMediaType, BodyTooLarge, BodyTimeout."""
    if not is_plain_json(request.headers.get("content-type"), request.headers.get("content-encoding")):
        raise UnsupportedMediaType
    return _members(await read_body(request, CAP_MIB))


async def read_nothing(request: Request) -> None:
    """Make sure that a body, which this path has no use for, asks for nothing: it is empty, or `{}`."""
    body = await read_body(request, CAP_MIB)
    if body:
        only(_members(body))


def only(members: Mapping[str, Any], *known: str) -> None:
    """Refuse a member that is not known. Raises InvalidRequest."""
    refuse_unknown(members.keys(), known)


def text_of(members: Mapping[str, Any], name: str) -> str | None:
    """Return a member that is text; None if it is null or not there. Raises InvalidRequest."""
    value = members.get(name)
    if value is not None and not isinstance(value, str):
        raise InvalidRequest(f"{name}: must be text")
    return value


def sought(members: Mapping[str, Any], name: str) -> str | None:
    """Return a member by which something is looked up; None if it is null or not there. Raises InvalidRequest."""
    value = text_of(members, name)
    if value is not None and "\0" in value:  # which PostgreSQL does not take; a lone surrogate comes as one too
        raise InvalidRequest(f"{name}: must be Unicode text without NUL")
    return value


def required(
    members: Mapping[str, Any], name: str, read: Callable[[Mapping[str, Any], str], str | None] = text_of
) -> str:
    """Return a member that is text, as `read` takes it, and has to be there. Raises InvalidRequest."""
    value = read(members, name)
    if value is None:
        raise InvalidRequest(f"{name}: is required")
    return value


def _members(body: bytes) -> dict[str, Any]:
    try:
        return read_members(body)
    except Violation as violation:
        raise InvalidRequest(violation.text) from None
