"""The one middleware, pure ASGI: request id, access log, and an answer in the contract's form whatever happens.

Routes leave what the log line shall say in `scope["state"]["seen"]`. It never says a key, a body or a URL with one.
"""

import time
from typing import Any

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.ids import request_id

UNLOGGED = frozenset({"/livez", "/readyz"})


class Seen(dict[str, Any]):
    """What is known of a request while it is answered; the routes write to it, the log line shows it."""


class Edge:
    """Wraps the application."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.closing = False
        """Whether every answer ends its connection, because this process leaves."""
        self._log = structlog.get_logger("access")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.monotonic()
        seen = Seen(request_id=request_id(_header(scope, b"x-request-id")))
        scope.setdefault("state", {})["seen"] = seen
        status = 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", seen["request_id"].encode())]
                if self.closing:
                    message["headers"].append((b"connection", b"close"))
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        except Exception:  # noqa: BLE001 -- the last line of defence; it logs the whole error
            # The framework has answered 500 by now and lets the error through; here it is logged and ends.
            self._log.exception("bug", method=scope["method"], path=scope["path"], **seen)
        finally:
            if scope["path"] not in UNLOGGED:
                self._log.info(
                    "request",
                    method=scope["method"],
                    path=scope["path"],
                    status=status,
                    seconds=round(time.monotonic() - began, 6),
                    **seen,
                )


def _header(scope: Scope, name: bytes) -> str | None:
    for found, value in scope["headers"]:
        if found == name:
            return str(value, "latin-1")
    return None
