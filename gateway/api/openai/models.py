"""`GET /v1/models`: the models that a caller may use, as OpenAI's SDKs list them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from gateway import clock
from gateway.api.who import Who
from gateway.catalog import CatalogFile, Model
from gateway.clock import Calendar
from gateway.errors import NotFound


@dataclass(frozen=True, slots=True)
class OpenAIModels:
    """The catalog in OpenAI's words; `GET /models` says more."""

    who: Who
    catalog: CatalogFile
    calendar: Calendar

    def router(self) -> APIRouter:
        """Return the routes."""
        router = APIRouter()
        router.add_api_route("/v1/models", self.list, methods=["GET", "HEAD"], response_model=None)
        router.add_api_route("/v1/models/{model:path}", self.one, methods=["GET", "HEAD"], response_model=None)
        return router

    async def list(self, request: Request) -> Response:
        """List the models that this caller may use."""
        return _answer({"object": "list", "data": [_shown(model) for model in await self._usable(request)]})

    async def one(self, request: Request) -> Response:
        """Show one of them, by its name or an alias of it."""
        name = request.path_params["model"]
        for model in await self._usable(request):
            if name == model.name or name in model.aliases:
                return _answer(_shown(model))
        raise NotFound

    async def _usable(self, request: Request) -> Iterator[Model]:
        allowed = (await self.who.calls(request, tokens=True)).policy.models
        offered = self.catalog.current.offered(self.calendar.date(clock.now()))
        return (model for model in offered if allowed is None or model.name in allowed)


def _shown(model: Model) -> dict[str, Any]:
    # Nobody knows when a model was made; the field is required, and 0 is what others write then.
    return {"id": model.name, "object": "model", "created": 0, "owned_by": model.provider}


def _answer(content: dict[str, Any]) -> Response:
    return Response(orjson.dumps(content), media_type="application/json")
