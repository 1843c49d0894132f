"""`GET /generations/{id}`: what became of a generation, for the tenant that asked for it."""

from dataclasses import dataclass
from typing import Any

import orjson
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from gateway import clock
from gateway.api.preferences import image_format
from gateway.api.render import Renderer
from gateway.api.who import Who
from gateway.errors import InvalidRequest, NotFound
from gateway.flow.repeat import RETRY_SECONDS, ended, failure
from gateway.flow.reply import from_text
from gateway.ledger.find import Found
from gateway.ledger.ledger import Ledger
from gateway.money import format_yuan

LONGEST_WAIT = 60


@dataclass(frozen=True, slots=True)
class GenerationsRoute:
    """A tenant's own generations."""

    who: Who
    ledger: Ledger
    renderer: Renderer

    def router(self) -> APIRouter:
        """Return the routes."""
        router = APIRouter()
        router.add_api_route(
            "/generations/{generation_id}", self.generation, methods=["GET", "HEAD"], response_model=None
        )
        return router

    async def generation(self, request: Request, generation_id: str) -> Response:
        """Show a generation; `?wait=N` waits at most so many seconds for it to end."""
        caller = await self.who.calls(request)
        wait = _wait(request.query_params.get("wait"))
        found = await self.ledger.find(generation_id)
        if found is None or found.tenant_id != caller.tenant_id:
            raise NotFound("There is no such generation")
        found = await ended(self.ledger, found, wait)
        reply = None
        if found.reply is not None:
            wanted = image_format(request, caller.policy.image_format)
            reply = await self.renderer.envelope(
                from_text(found.reply, found.id, "replayed"), wanted, caller.policy.link_ttl
            )
        shown = {
            "id": found.id,
            "state": found.state,
            "created_at": clock.iso(found.created_at),
            "model": found.model,
            "cost_yuan": None if found.cost is None else format_yuan(found.cost),
            "reply": reply,
            "error": _error(found),
        }
        headers = {"Cache-Control": "private, no-store"}
        if found.state == "reserved":
            headers["Retry-After"] = str(RETRY_SECONDS)
        return Response(orjson.dumps(shown), media_type="application/json", headers=headers)


def _error(found: Found) -> dict[str, Any] | None:
    """Say what a caller who had waited would have been answered, where that is no reply."""
    if found.state == "reserved" or found.reply is not None:
        return None
    error = failure(found, {})
    return {"code": -1, "msg": error.text, "status": error.status}


def _wait(text: str | None) -> float:
    if text is None:
        return 0.0
    if not (text.isascii() and text.isdigit() and len(text) <= 3 and int(text) <= LONGEST_WAIT):  # noqa: PLR2004 -- as in the text
        raise InvalidRequest(f"Invalid wait parameter. Supported range: 0 to {LONGEST_WAIT}")
    return float(text)
