"""`POST /images/generate`: who, what, then the flow; its answer counted once."""

from dataclasses import dataclass
from datetime import date
from functools import lru_cache

import orjson
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from gateway import clock
from gateway.api.body import DEFAULT_CAP_MIB, read_body
from gateway.api.edge import Seen
from gateway.api.errors import render
from gateway.api.preferences import idempotency_key, image_format, preferences
from gateway.api.render import Renderer
from gateway.api.room import BodyRoom, Hold
from gateway.api.who import Who
from gateway.aside import aside
from gateway.catalog import Catalog, CatalogFile
from gateway.clock import Calendar
from gateway.contract import GenerateAsk, Violation, is_plain_json, read_ask
from gateway.errors import GatewayError, InvalidRequest, RefusedByUpstream, UnsupportedMediaType, UpstreamFailed
from gateway.flow.call import Call
from gateway.flow.generate import Generator
from gateway.flow.repeat import RETRY_SECONDS
from gateway.flow.reply import Accepted
from gateway.images.given import GivenLinks
from gateway.metrics import Metrics
from gateway.money import format_yuan
from gateway.replies import read_directives
from gateway.tenants.directory import Caller

OFF_LOOP = 256 * 1024
"""A body of more bytes is read in a thread, so that it does not stall the event loop."""

LOGGED_PROMPT = 4096
"""Characters of a prompt that are logged, if its tenant's policy says that it is."""

REMEMBERED = 2048
"""What is read of a body of at most so many bytes is remembered for a while."""


@dataclass(frozen=True, slots=True)
class GenerateRoute:
    """The endpoint that is mirrored."""

    who: Who
    catalog: CatalogFile
    calendar: Calendar
    generator: Generator
    renderer: Renderer
    links: GivenLinks
    room: BodyRoom
    metrics: Metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request as an ASGI application.

        Nothing but the request is declared anywhere, so no body is read before the key is known.
        """
        try:
            response = await self.generate(Request(scope, receive))
        except GatewayError as error:
            response = render(error)
        await response(scope, receive, send)

    async def generate(self, request: Request) -> Response:
        """Generate an image, or several."""
        seen: Seen = request.state.seen
        seen.update(tenant=None, model=None, outcome="unavailable")  # what a bug counts as
        try:
            return await self._generate(request, seen)
        except GatewayError as error:
            seen.update(outcome=error.outcome, reason=reason(error))
            if (generation := error.headers.get("X-Generation-Id")) is not None:
                seen["generation"] = generation
            raise
        except ClientDisconnect:
            # Nobody is left to read it; it is for the log's sake that the request has a status.
            seen["outcome"] = "disconnected"
            return Response(status_code=499)
        finally:
            if seen["outcome"] != "disconnected":
                self.metrics.count_request(seen["tenant"], seen["model"], seen["outcome"])

    async def _generate(self, request: Request, seen: Seen) -> Response:
        caller = await self.who.calls(request, tokens=True)
        call, wanted = _call(request, seen["request_id"]), image_format(request, caller.policy.image_format)
        with self.room.hold() as hold:
            call.room = hold
            ask = await self._ask(request, caller, hold)
            model = self.catalog.current.find(ask.model)
            seen["model"] = None if model is None else model.name
            if caller.policy.log_prompts:
                seen["prompt"] = ask.prompt[:LOGGED_PROMPT]
            try:
                reply = await self.generator.begin(call, caller, ask)
            except GatewayError as error:
                error.headers.update(call.headers())
                raise
            finally:
                seen.update(call.seen())
            if isinstance(reply, Accepted):
                seen.update(outcome="accepted", generation=reply.generation_id)
                if reply.work is not None:
                    hold.until(reply.work)
                return _accepted(reply, call)
            seen.update(
                outcome=reply.origin,
                generation=reply.generation_id,
                cost_yuan=format_yuan(reply.cost),
                images=len(reply.images),
            )
            return await self.renderer.success(reply, wanted, caller.policy.link_ttl, call.headers())

    async def _ask(self, request: Request, caller: Caller, hold: Hold) -> GenerateAsk:
        """Read the body into an ask. Raises InvalidRequest, and what `read_body` raises."""
        cap = caller.policy.max_body_mb
        body = await read_body(request, DEFAULT_CAP_MIB if cap is None else cap, hold)
        today = self.calendar.date(clock.now())
        try:
            if len(body) > OFF_LOOP:
                return await aside(_read, body, self.catalog.current, today, caller, self.links.prefixes)
            if len(body) > REMEMBERED:
                return _read(body, self.catalog.current, today, caller, self.links.prefixes)
            return _read_again(body, self.catalog.current, today, caller, self.links.prefixes)
        except Violation as violation:
            raise InvalidRequest(violation.text) from None


def _read(body: bytes, catalog: Catalog, today: date, caller: Caller, own_links: tuple[str, ...]) -> GenerateAsk:
    return read_ask(body, catalog.rules(today), usable=usable_by(caller, catalog, today), own_links=own_links)


def usable_by(caller: Caller, catalog: Catalog, today: date) -> list[str]:
    """Name the models that a caller may ask for."""
    allowed = caller.policy.models
    return [name for name in catalog.names(today) if allowed is None or name in allowed]


@lru_cache(maxsize=512)  # what is asked again, and answered from the cache, is read once
def _read_again(body: bytes, catalog: Catalog, today: date, caller: Caller, own_links: tuple[str, ...]) -> GenerateAsk:
    return _read(body, catalog, today, caller, own_links)


def _call(request: Request, request_id: str) -> Call:
    """Read the headers that say how a generation is wanted. Raises UnsupportedMediaType and InvalidRequest."""
    if request.headers.get("content-encoding") is not None:
        raise UnsupportedMediaType("Invalid Content-Encoding header. Compressed bodies are not supported")
    if not is_plain_json(request.headers.get("content-type"), None):
        raise UnsupportedMediaType
    asynchronous, wait = preferences(request)
    return Call(
        request_id,
        idempotency_key(request),
        wait,
        asynchronous=asynchronous,
        directives=read_directives(request.headers.getlist("cache-control")),
    )


def _accepted(accepted: Accepted, call: Call) -> Response:
    """Answer 202: where the generation is found, and when to look."""
    applied = f"respond-async, wait={call.wait:.0f}" if call.wait else "respond-async"
    headers = call.headers() | {
        "Location": f"/generations/{accepted.generation_id}",
        "Retry-After": str(RETRY_SECONDS),
        "Preference-Applied": applied,
        "X-Generation-Id": accepted.generation_id,
        "Cache-Control": "private, no-store",
    }
    content = orjson.dumps({"id": accepted.generation_id, "state": "reserved"})
    return Response(content, 202, headers=headers, media_type="application/json")


def reason(error: GatewayError) -> str:
    """Say in the log what went wrong, without upstream's own words: those may quote the prompt."""
    if isinstance(error, RefusedByUpstream):
        return error.public
    if isinstance(error, UpstreamFailed):
        return error.text
    return error.text if error.detail is None else error.detail
