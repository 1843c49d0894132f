"""The one renderer of errors: `{"code": -1, "msg": …}`, whatever went wrong and whoever noticed it."""

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from gateway.errors import GatewayError, MethodNotAllowed, NotFound, Unavailable

BUG = "Internal error"


def envelope(status: int, text: str, headers: dict[str, str] | None = None) -> Response:
    """Answer a failure in the contract's form."""
    return Response(orjson.dumps({"code": -1, "msg": text}), status, headers=headers, media_type="application/json")


def render(error: GatewayError) -> Response:
    """Answer an expected failure: its public text, and the headers that say what to do about it."""
    headers = dict(error.headers)
    if error.retry_after is not None:
        headers["Retry-After"] = str(error.retry_after)
    elif isinstance(error, Unavailable):
        headers["Retry-After"] = "5"
    if error.final:
        headers["x-should-retry"] = "false"
    return envelope(error.status, error.text, headers)


def render_framework(_request: Request, error: Exception) -> Response:
    """Answer what the framework refuses by itself: an unknown path, a method that the path does not have."""
    if not isinstance(error, HTTPException):
        raise error
    if error.status_code == NotFound.status:
        return render(NotFound())
    if error.status_code == MethodNotAllowed.status:
        return render(MethodNotAllowed(headers={} if error.headers is None else dict(error.headers)))
    return envelope(error.status_code, error.detail)


def render_expected(_request: Request, error: Exception) -> Response:
    """Answer a GatewayError that a route raised."""
    if not isinstance(error, GatewayError):
        raise error
    return render(error)


def render_bug() -> Response:
    """Answer anything else: a bug, of which the caller learns nothing and the log everything."""
    return envelope(500, BUG)


def render_unexpected(_request: Request, _error: Exception) -> Response:
    """Answer a bug that the framework met first."""
    return render_bug()
