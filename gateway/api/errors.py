"""The one renderer of errors: `{"code": -1, "msg": …}`, whatever went wrong and whoever noticed it.

Under `/v1/` it is OpenAI's form, which its SDKs read: `{"error": {"message", "type", "param", "code"}}`.
"""

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from gateway.errors import GatewayError, InvalidRequest, MethodNotAllowed, NotFound, Unauthorized, Unavailable

BUG = "Internal error"
OPENAI = "/v1/"

_INVALID = "invalid_request_error"
_OPENAI_KINDS: dict[int, tuple[str, str | None]] = {
    401: (_INVALID, "invalid_api_key"),
    402: ("insufficient_quota", "insufficient_quota"),
    403: ("permission_error", None),
    429: ("rate_limit_error", "rate_limit_exceeded"),
}
"""`type` and `code` by status; others are told apart by their hundreds."""


def envelope(status: int, text: str, headers: dict[str, str] | None = None) -> Response:
    """Answer a failure in the contract's form."""
    return Response(orjson.dumps({"code": -1, "msg": text}), status, headers=headers, media_type="application/json")


def openai_envelope(
    status: int, text: str, headers: dict[str, str] | None = None, parameter: str | None = None
) -> Response:
    """Answer a failure in OpenAI's form."""
    kind, code = _OPENAI_KINDS.get(status, (_INVALID if status < 500 else "server_error", None))  # noqa: PLR2004 -- HTTP
    content = {"error": {"message": text, "type": kind, "param": parameter, "code": code}}
    return Response(orjson.dumps(content), status, headers=headers, media_type="application/json")


class AnswerCut(Exception):
    """An answer that has begun cannot be ended. Its connection is closed, so that nobody takes it for whole."""


def render(error: GatewayError, path: str = "") -> Response:
    """Answer an expected failure: its public text, and the headers that say what to do about it."""
    headers = dict(error.headers)
    if error.retry_after is not None:
        headers["Retry-After"] = str(error.retry_after)
    elif isinstance(error, Unavailable):
        headers["Retry-After"] = "5"
    if isinstance(error, Unauthorized):
        headers["WWW-Authenticate"] = "Bearer"
    if error.final:
        headers["x-should-retry"] = "false"
    if path.startswith(OPENAI):
        parameter = error.parameter if isinstance(error, InvalidRequest) else None
        return openai_envelope(error.status, error.text, headers, parameter)
    return envelope(error.status, error.text, headers)


def render_framework(request: Request, error: Exception) -> Response:
    """Answer what the framework refuses by itself: an unknown path, a method that the path does not have."""
    if not isinstance(error, HTTPException):
        raise error
    if error.status_code == NotFound.status:
        return render(NotFound(), request.scope["path"])
    if error.status_code == MethodNotAllowed.status:
        headers = {} if error.headers is None else dict(error.headers)
        return render(MethodNotAllowed(headers=headers), request.scope["path"])
    return envelope(error.status_code, error.detail)


def render_expected(request: Request, error: Exception) -> Response:
    """Answer a GatewayError that a route raised."""
    if not isinstance(error, GatewayError):
        raise error
    return render(error, request.scope["path"])


def render_bug(path: str = "") -> Response:
    """Answer anything else: a bug, of which the caller learns nothing and the log everything."""
    return openai_envelope(500, BUG) if path.startswith(OPENAI) else envelope(500, BUG)


def render_unexpected(request: Request, _error: Exception) -> Response:
    """Answer a bug that the framework met first."""
    return render_bug(request.scope["path"])
