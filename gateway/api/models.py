"""`GET /models`: the catalog as the caller may use it."""

from dataclasses import dataclass
from typing import Any

import orjson
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from gateway import clock
from gateway.api.who import Who
from gateway.catalog import CatalogFile, FlatPrice, Model
from gateway.clock import Calendar
from gateway.contract import OPTIONS, REFERENCE_FIELDS
from gateway.money import format_yuan


@dataclass(frozen=True, slots=True)
class ModelsRoute:
    """What may be asked for, and what it costs at the most."""

    who: Who
    catalog: CatalogFile
    calendar: Calendar

    def router(self) -> APIRouter:
        """Return the route."""
        router = APIRouter()
        router.add_api_route("/models", self.models, methods=["GET", "HEAD"], response_model=None)
        return router

    async def models(self, request: Request) -> Response:
        """List the models that this caller may use."""
        caller = await self.who.calls(request, tokens=True)
        allowed = caller.policy.models
        offered = self.catalog.current.offered(self.calendar.date(clock.now()))
        shown = [_shown(model) for model in offered if allowed is None or model.name in allowed]
        return Response(orjson.dumps({"models": shown}), media_type="application/json")


def _shown(model: Model) -> dict[str, Any]:
    rules = model.rules
    accepted = [option for option in OPTIONS if option in rules.accepts]
    return {
        "model": model.name,
        "aliases": list(model.aliases),
        "provider": model.provider,
        "parameters": ["model", "prompt", *_spelt_out(accepted, rules.images_max)],
        "reply": model.reply,
        "image_inputs": {"maximum": rules.images_max, "advised": model.images_advised},
        "size": {
            "multiple_of": rules.multiple_of,
            "side_minimum": rules.smallest_side,
            "side_maximum": rules.side_max if rules.side_max != 0 else None,
            "pixels_maximum": rules.pixels_max if rules.pixels_max != 0 else None,
        }
        if "width" in rules.accepts
        else None,
        "prompt_characters_maximum": rules.prompt_chars_max,
        "price": {
            "per": "image" if isinstance(model.price, FlatPrice) else "megapixel",
            "currency": "CNY",
            "most_yuan": format_yuan(model.price.most()),
        },
        "retired_on": None if model.retired_on is None else model.retired_on.isoformat(),
        "note": model.note,
    }


def _spelt_out(accepted: list[str], images_max: int) -> list[str]:
    """Name each reference slot: `input_image` stands for all of them."""
    return [
        name for option in accepted for name in (REFERENCE_FIELDS[:images_max] if option == "input_image" else [option])
    ]
