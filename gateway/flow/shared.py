"""What a generation came to, as text: for those who waited for it in another request, or another process."""

from typing import Any

import orjson

from gateway.errors import (
    GatewayError,
    RefusedByUpstream,
    Unavailable,
    UpstreamBusy,
    UpstreamFailed,
    UpstreamSilent,
    UpstreamUnreached,
)
from gateway.flow.reply import Reply, from_text, to_text
from gateway.money import Micros

_ERRORS: dict[str, type[GatewayError]] = {
    kind.__name__: kind for kind in (RefusedByUpstream, UpstreamBusy, UpstreamFailed, UpstreamSilent, UpstreamUnreached)
}


def write(result: Reply | GatewayError) -> str:
    """Write a reserved outcome, success or failure."""
    if isinstance(result, Reply):
        shared: dict[str, Any] = {
            "reply": to_text(result, prompts=True),
            "id": result.generation_id,
            "cost": result.cost,
        }
        if result.pending:  # followers have no bytes of it, and there is no link
            shared = {"error": Unavailable.__name__, "text": "The image could not be kept", "retry_after": 5}
    else:
        kind = next(name for name, kind in _ERRORS.items() if isinstance(result, kind))
        shared = {"error": kind, "text": result.text, "retry_after": result.retry_after}
    return orjson.dumps(shared).decode()


def read(text: str) -> tuple[Reply, Micros]:
    """Read an outcome: the reply, charged nothing, and what that saved. Raises the GatewayError that it was."""
    shared: dict[str, Any] = orjson.loads(text)
    if "error" in shared:
        kind = _ERRORS.get(shared["error"], Unavailable)
        raise kind(shared["text"], retry_after=shared["retry_after"])
    return from_text(shared["reply"], shared["id"], "collapsed"), shared["cost"]
