"""The one door to the admin API: the token, before anything else is looked at."""

import hashlib
import hmac

from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.api.edge import Seen
from gateway.contract import bearer
from gateway.errors import GatewayError, InvalidRequest, NotFound, Unauthorized
from gateway.tenants.policy import InvalidPolicy

ACTOR = "admin"
"""Who the audit trail says it was: the token has no owner."""


class Entrance:
    """Stands before an ASGI application and lets in whoever has the token; without a token there is nothing here.

    Digests are compared, in constant time: neither the token's characters nor its length can be told from the time
    that a refusal takes. A refused request's body is not read, so its connection is closed.
    """

    def __init__(self, token: str | None, app: ASGIApp) -> None:
        self._digest = None if token is None else _digest(token)
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let one request in. Raises Unauthorized, NotFound, and what the application raises."""
        if self._digest is None:
            raise NotFound
        given = bearer([value for name, value in scope["headers"] if name == b"authorization"])
        if given is None or not hmac.compare_digest(_digest(given), self._digest):
            raise Unauthorized(detail="not the admin token")
        seen: Seen = scope["state"]["seen"]
        seen["actor"] = ACTOR
        try:
            await self._app(scope, receive, send)
        except InvalidPolicy as error:
            seen["reason"] = str(error)
            raise InvalidRequest(str(error)) from error
        except GatewayError as error:
            seen["reason"] = error.text if error.detail is None else error.detail
            raise


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
