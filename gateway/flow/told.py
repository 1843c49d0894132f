"""What callers are told, as text: for the ledger's row, and for those who waited for it in another process."""

from typing import Any

import orjson

from gateway.errors import (
    GatewayError,
    OverBudget,
    RateLimited,
    RefusedByUpstream,
    Unavailable,
    UpstreamBusy,
    UpstreamFailed,
    UpstreamLost,
    UpstreamSilent,
    UpstreamUnreached,
)
from gateway.flow.reply import Reply, from_text, to_text
from gateway.money import Micros

_ERRORS: dict[str, type[GatewayError]] = {
    kind.__name__: kind
    for kind in (
        OverBudget,
        RateLimited,
        RefusedByUpstream,
        Unavailable,
        UpstreamBusy,
        UpstreamFailed,
        UpstreamLost,
        UpstreamSilent,
        UpstreamUnreached,
    )
}
_KEEPS_KEY = (RefusedByUpstream, UpstreamLost, UpstreamSilent)


def keeps_key(error: GatewayError) -> bool:
    """Whether a repeat of the same idempotency key is told the same: a refusal, or an outcome that is not known."""
    return isinstance(error, _KEEPS_KEY)


def remembered(error: GatewayError, *, prompts: bool) -> GatewayError:
    """Return an error as it may be kept: in our own words unless prompts may be, since upstream's may quote one."""
    return error if prompts else type(error)(retry_after=error.retry_after, headers=error.headers)


def error_to_text(error: GatewayError) -> str:
    """Write an error that a generation ended in."""
    return orjson.dumps(_fields(error)).decode()


def error_from_text(text: str, headers: dict[str, str]) -> GatewayError:
    """Read an error that `error_to_text` wrote."""
    return _error(orjson.loads(text), headers)


def outcome_to_text(result: Reply | GatewayError, *, prompts: bool) -> str:
    """Write what a reserved generation came to; upstream's words too, if prompts may be kept."""
    if isinstance(result, GatewayError):
        return error_to_text(remembered(result, prompts=prompts))
    if result.passed:  # others have no bytes of it, and there is no link
        return error_to_text(Unavailable("The image could not be kept", retry_after=5))
    told = {"reply": to_text(result, prompts=prompts), "id": result.generation_id, "cost": result.cost}
    return orjson.dumps(told).decode()


def outcome_from_text(text: str) -> tuple[Reply, Micros]:
    """Read an outcome: the reply, charged nothing, and what that saves. Raises the GatewayError that it was."""
    told: dict[str, Any] = orjson.loads(text)
    if "error" in told:
        raise _error(told, {})
    return from_text(told["reply"], told["id"], "collapsed"), told["cost"]


def _fields(error: GatewayError) -> dict[str, Any]:
    return {
        "error": type(error).__name__,
        "text": error.text,
        "retry_after": error.retry_after,
        "id": error.headers.get("X-Generation-Id"),
    }


def _error(told: dict[str, Any], headers: dict[str, str]) -> GatewayError:
    named = headers if told["id"] is None else {"X-Generation-Id": told["id"]} | headers
    return _ERRORS[told["error"]](told["text"], retry_after=told["retry_after"], headers=named)
