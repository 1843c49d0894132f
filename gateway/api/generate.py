"""`POST /images/generate`: who, what, then the flow; its answer counted once."""

import asyncio
from dataclasses import dataclass

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from gateway import clock
from gateway.api.body import DEFAULT_CAP_MIB, read_body
from gateway.api.edge import Seen
from gateway.api.render import Renderer
from gateway.catalog import CatalogFile
from gateway.clock import Calendar
from gateway.contract import GenerateAsk, Violation, bearer, is_plain_json, read_ask
from gateway.errors import GatewayError, InvalidRequest, UnsupportedMediaType
from gateway.flow.generate import Generator
from gateway.images.links import Links
from gateway.metrics import Metrics
from gateway.money import format_yuan
from gateway.tenants.directory import Caller, Directory
from gateway.tenants.policy import IMAGE_FORMATS, ImageFormat

OFF_LOOP = 256 * 1024
"""A body of more bytes is read in a thread, so that it does not stall the event loop."""


@dataclass(frozen=True, slots=True)
class GenerateRoute:
    """The endpoint that is mirrored."""

    directory: Directory
    catalog: CatalogFile
    calendar: Calendar
    generator: Generator
    renderer: Renderer
    links: Links
    metrics: Metrics

    def route(self) -> Route:
        """Return the route, as Starlette has it.

        It takes nothing but the request, so no body is read before the key is known; FastAPI's own route would take
        another 26 µs a request to find that it has nothing to inject.
        """
        return Route("/images/generate", self.generate, methods=["POST"])

    async def generate(self, request: Request) -> Response:
        """Generate an image, or several."""
        seen: Seen = request.state.seen
        seen.update(tenant=None, model=None, outcome="disconnected")
        try:
            response = await self._generate(request, seen)
            seen["outcome"] = "generated"
        except GatewayError as error:
            seen.update(outcome=error.outcome, reason=error.detail if error.detail is not None else error.text)
            raise
        except ClientDisconnect:
            # Nobody is left to read it; it is for the log's sake that the request has a status.
            return Response(status_code=499)
        finally:
            if seen["outcome"] != "disconnected":
                tenant, model = self.metrics.tenants.of(seen["tenant"]), seen["model"]
                self.metrics.requests.labels(tenant, "none" if model is None else model, seen["outcome"]).inc()
        return response

    async def _generate(self, request: Request, seen: Seen) -> Response:
        caller = await self.directory.caller(bearer(request.headers.getlist("authorization")))
        seen.update(tenant=caller.tenant, key=caller.key_id)
        if not is_plain_json(request.headers.get("content-type"), request.headers.get("content-encoding")):
            raise UnsupportedMediaType(headers={"Connection": "close"})
        image_format = _image_format(request, caller)
        cap = caller.policy.max_body_mb
        body = await read_body(request, DEFAULT_CAP_MIB if cap is None else cap)
        ask = await self._read(body, caller)
        model = self.catalog.current.find(ask.model)
        seen["model"] = None if model is None else model.name
        reply = await self.generator.generate(caller, ask, seen["request_id"])
        seen.update(generation=reply.generation_id, cost_yuan=format_yuan(reply.cost), images=len(reply.images))
        return await self.renderer.success(reply, image_format, caller.policy.link_ttl)

    async def _read(self, body: bytes, caller: Caller) -> GenerateAsk:
        catalog, today, allowed = self.catalog.current, self.calendar.date(clock.now()), caller.policy.models
        rules = catalog.rules(today)
        usable = [name for name in catalog.names(today) if allowed is None or name in allowed]
        try:
            if len(body) > OFF_LOOP:
                return await asyncio.to_thread(read_ask, body, rules, usable=usable, own_links=self.links.prefix)
            return read_ask(body, rules, usable=usable, own_links=self.links.prefix)
        except Violation as violation:
            raise InvalidRequest(violation.text) from None


def _image_format(request: Request, caller: Caller) -> ImageFormat:
    asked = request.headers.get("x-image-format")
    if asked is None:
        return caller.policy.image_format
    for image_format in IMAGE_FORMATS:
        if asked == image_format:
            return image_format
    raise InvalidRequest(
        f"Invalid X-Image-Format header. Supported formats: {', '.join(IMAGE_FORMATS)}", headers={"Connection": "close"}
    )
