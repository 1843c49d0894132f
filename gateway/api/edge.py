"""The one middleware, pure ASGI: request id, CORS, access log, and an answer in the contract's form whatever happens.

An answer that comes before the whole body is read ends its connection.

Routes leave what the log line shall say in `scope["state"]["seen"]`. It never says a key, a body or a URL with one.
"""

import asyncio
import re
import time
from collections.abc import Mapping
from typing import Any

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.api.errors import AnswerCut, render, render_bug
from gateway.api.pages import Pages, header_of, readable
from gateway.errors import GatewayError, InvalidRequest, NotFound, Unavailable
from gateway.ids import request_id
from gateway.trace_context import trace_id_of

_KEY = re.compile(r"igw_[a-z]{2}_\w+")

UNLOGGED = frozenset({"/livez", "/readyz"})


class Seen(dict[str, Any]):
    """What is known of a request while it is answered; the routes write to it, the log line shows it."""


class Edge:
    """Wraps the application of a server without WebSockets and lifespan events.

    POSTs to the paths of `straight` do not take the way through its framework.
    """

    def __init__(self, app: ASGIApp, pages: Pages, straight: Mapping[str, ASGIApp] | None = None) -> None:
        self._app = app
        self._pages = pages
        self._straight = {} if straight is None else dict(straight)
        self.closing = False
        """Whether every answer ends its connection, because this process leaves."""
        self._log = structlog.get_logger("access").bind()  # bound now, or each line would find its logger anew

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = time.monotonic()
        scope.setdefault("state", {})
        seen = scope["state"]["seen"] = _first_seen(scope)
        status, unread = 0, _has_body(scope)

        async def receive_to_the_end() -> Message:
            nonlocal unread
            message = await receive()
            unread = unread and message.get("more_body", False)
            return message

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                named = (b"x-request-id", seen["request_id"].encode())
                message["headers"] = [*message["headers"], named, *readable(scope)]
                if unread or self.closing:  # what is left of the body would be taken for the next request
                    message["headers"].append((b"connection", b"close"))
            await send(message)

        try:
            await (await self._way(scope))(scope, receive_to_the_end, send_with_id)
        except (asyncio.CancelledError, Exception) as error:  # noqa: BLE001 -- the last line of defence
            last = self._last_word(error, scope, seen)
            if status == 0:
                await last(scope, receive, send_with_id)
        finally:
            if scope["path"] not in UNLOGGED:
                seen.update(method=scope["method"], path=_shown(scope["path"]), status=status)
                self._log.info("request", seconds=round(time.monotonic() - began, 6), **seen)

    def _last_word(self, error: BaseException, scope: Scope, seen: Seen) -> ASGIApp:
        """Say what is left to say to a request that ended so, if nothing has been said yet; log the whole of a bug."""
        match error:
            case asyncio.CancelledError():  # the server does not wait for this request any longer
                return render(Unavailable("The gateway is shutting down", retry_after=5), scope["path"])
            case AnswerCut():
                seen["reason"] = str(error)
            case _:
                self._log.error("bug", exc_info=error, method=scope["method"], path=_shown(scope["path"]), **seen)
        return render_bug(scope["path"])

    async def _way(self, scope: Scope) -> ASGIApp:
        """Say who answers: for a page, perhaps only whether it may ask; for nobody, if it asks for a NUL.

        No name or id has one, and PostgreSQL takes none.
        """
        if "\0" in scope["path"]:
            return render(NotFound(), scope["path"])
        if b"%00" in scope["query_string"]:
            return render(InvalidRequest("Invalid query. Text without NUL is required"), scope["path"])
        if (origin := header_of(scope, b"origin")) is not None:
            try:
                answer = await self._pages.meet(scope, origin)
            except GatewayError as error:
                scope["state"]["seen"]["reason"] = error.text
                return render(error, scope["path"])
            if answer is not None:
                return answer
        return self._straight.get(scope["path"], self._app) if scope["method"] == "POST" else self._app


def _first_seen(scope: Scope) -> Seen:
    """Say by what a request is found again: its id, and its trace if its caller names one."""
    seen = Seen(request_id=request_id(header_of(scope, b"x-request-id")))
    trace_id = scope["state"].get("trace_id") or trace_id_of(header_of(scope, b"traceparent"))
    if trace_id is not None:
        seen["trace_id"] = trace_id
    return seen


def _shown(path: str) -> str:
    """Mask what looks like a key: some callers put theirs into the path."""
    return _KEY.sub("igw_…", path) if "igw_" in path else path


def _has_body(scope: Scope) -> bool:
    return any(
        (name == b"content-length" and value != b"0") or name == b"transfer-encoding"
        for name, value in scope["headers"]
    )
