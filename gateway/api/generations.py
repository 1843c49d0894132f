"""`/generations/{id}`, and its `/events`: what becomes of a generation, and its erasure, for whoever asked for it."""

from dataclasses import dataclass
from typing import Any

import orjson
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from gateway import clock
from gateway.api.events import Streams, Subject, seen_until, stream
from gateway.api.preferences import image_format
from gateway.api.render import Renderer
from gateway.api.who import Who
from gateway.errors import InvalidRequest, NotFound, NotOver
from gateway.flow.erase import Eraser
from gateway.flow.ownership import end_user, owns
from gateway.flow.repeat import RETRY_SECONDS, ended, failure, not_kept
from gateway.flow.reply import from_text
from gateway.flow.stages import Stages
from gateway.ledger.find import Found
from gateway.ledger.ledger import Ledger
from gateway.money import format_yuan
from gateway.tenants.directory import Caller

LONGEST_WAIT = 60
LATER_SECONDS = 30
"""After so many it is worth asking again whether images that could not be erased are."""


@dataclass(frozen=True, slots=True)
class GenerationsRoute:
    """A tenant's own generations."""

    who: Who
    ledger: Ledger
    renderer: Renderer
    eraser: Eraser
    stages: Stages
    streams: Streams

    def router(self) -> APIRouter:
        """Return the routes."""
        router = APIRouter()
        router.add_api_route(
            "/generations/{generation_id}", self.generation, methods=["GET", "HEAD"], response_model=None
        )
        router.add_api_route("/generations/{generation_id}/events", self.events, methods=["GET"], response_model=None)
        router.add_api_route("/generations/{generation_id}", self.erase, methods=["DELETE"], response_model=None)
        return router

    async def generation(self, request: Request, generation_id: str) -> Response:
        """Show a generation; `?wait=N` waits at most so many seconds for it to end."""
        caller = await self.who.calls(request, tokens=True)
        wait = _wait(request.query_params.get("wait"))
        found = await ended(self.ledger, await self._own(caller, generation_id), wait)
        headers = {"Cache-Control": "private, no-store"}
        if found.state == "reserved":
            headers["Retry-After"] = str(RETRY_SECONDS)
        shown = await self._shown(found, caller, request)
        return Response(orjson.dumps(shown), media_type="application/json", headers=headers)

    async def events(self, request: Request, generation_id: str) -> Response:
        """Tell the stages of a generation as they come, and show it at its end."""
        caller = await self.who.calls(request, tokens=True)
        found = await self._own(caller, generation_id)
        image_format(request, caller.policy.image_format)  # refused now rather than at the end

        async def end() -> dict[str, Any]:
            return await self._shown(await self._own(caller, generation_id), caller, request)

        subject = Subject(found.id, found.tenant_id, end_user(caller), end)
        return stream(subject, seen_until(request), self.stages, self.streams)

    async def _own(self, caller: Caller, generation_id: str) -> Found:
        """Find a generation that the caller may see. Raises NotFound, LedgerUnavailable."""
        found = await self.ledger.find(generation_id)
        if found is None or not owns(caller, found):
            raise NotFound("There is no such generation")
        return found

    async def _shown(self, found: Found, caller: Caller, request: Request) -> dict[str, Any]:
        reply, kept = None, None if found.reply is None else from_text(found.reply, found.id, "replayed")
        if kept is not None and kept.images:
            wanted = image_format(request, caller.policy.image_format)
            reply = await self.renderer.envelope(kept, wanted, caller.policy.link_ttl)
        shown: dict[str, Any] = {
            "id": found.id,
            "state": found.state,
            "created_at": clock.iso(found.created_at),
            "model": found.model,
            "cost_yuan": None if found.cost is None else format_yuan(found.cost),
            "reply": reply,
            "error": _error(found, shown=reply is not None),
        }
        if found.erased:
            shown["erased"] = True
        return shown

    async def erase(self, request: Request, generation_id: str) -> Response:
        """Erase prompt, reply and images; what it cost stays. 204; 202 if the images go later: a store is away."""
        caller = await self.who.calls(request)
        found = await self._own(caller, generation_id)
        if found.state == "reserved":
            raise NotOver(retry_after=RETRY_SECONDS)
        if await self.eraser.erase(caller.tenant_id, found.id):
            return Response(status_code=204)
        return Response(
            orjson.dumps({"id": found.id, "erased": True}),
            status_code=202,
            media_type="application/json",
            headers={"Cache-Control": "private, no-store", "Retry-After": str(LATER_SECONDS)},
        )


def _error(found: Found, *, shown: bool) -> dict[str, Any] | None:
    """Say what a caller who had waited would have been answered, where that is no reply."""
    if found.state == "reserved" or shown:
        return None
    error = failure(found, {}) if found.reply is None else not_kept({})
    return {"code": -1, "msg": error.text, "status": error.status}


def _wait(text: str | None) -> float:
    if text is None:
        return 0.0
    if not (text.isascii() and text.isdigit() and len(text) <= 3 and int(text) <= LONGEST_WAIT):  # noqa: PLR2004 -- as in the text
        raise InvalidRequest(f"Invalid wait parameter. Supported range: 0 to {LONGEST_WAIT}")
    return float(text)
