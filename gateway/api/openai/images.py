"""`POST /v1/images/generations` and `/v1/images/edits`: several images are as many generations of the one flow."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import orjson
from fastapi import APIRouter
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from gateway import clock
from gateway.api.body import DEFAULT_CAP_MIB, read_body
from gateway.api.edge import Seen
from gateway.api.generate import LOGGED_PROMPT, OFF_LOOP, reason, usable_by
from gateway.api.openai.ask import ResponseFormat, Wanted, wanted_of
from gateway.api.openai.form import is_form, read_form
from gateway.api.preferences import idempotency_key
from gateway.api.render import Renderer
from gateway.api.room import BodyRoom, Hold
from gateway.api.who import Who
from gateway.aside import aside
from gateway.catalog import CatalogFile
from gateway.clock import Calendar
from gateway.contract import Violation, is_plain_json, read_members
from gateway.errors import GatewayError, InvalidRequest, LedgerUnavailable, UnsupportedMediaType
from gateway.flow.call import Call
from gateway.flow.generate import Generator
from gateway.flow.reply import Reply
from gateway.limits import ratelimit_headers
from gateway.metrics import Metrics
from gateway.money import format_yuan
from gateway.replies import read_directives
from gateway.tenants.directory import Caller
from gateway.tenants.policy import ImageFormat

Read: TypeAlias = Callable[[bytes], tuple[dict[str, Any], Sequence[bytes]]]
"""From a body to the members of a request and the files of its images. Raises Violation."""

_FORMATS: dict[ResponseFormat, ImageFormat] = {"url": "url", "b64_json": "base64"}

MOST_KEY_CHARACTERS = 253
"""Of an idempotency key for several images, each of which has one made of it."""


@dataclass(frozen=True, slots=True)
class OpenAIImages:
    """OpenAI's two endpoints that make images."""

    who: Who
    catalog: CatalogFile
    calendar: Calendar
    generator: Generator
    renderer: Renderer
    room: BodyRoom
    metrics: Metrics

    def router(self) -> APIRouter:
        """Return the routes."""
        router = APIRouter()
        router.add_api_route("/v1/images/generations", self.generations, methods=["POST"], response_model=None)
        router.add_api_route("/v1/images/edits", self.edits, methods=["POST"], response_model=None)
        return router

    async def generations(self, request: Request) -> Response:
        """Make images from words: a JSON body."""
        return await self._answer(request, _json_reader)

    async def edits(self, request: Request) -> Response:
        """Make images from images: a form with files."""
        return await self._answer(request, _form_reader)

    async def _answer(self, request: Request, reader: Callable[[Request], Read]) -> Response:
        seen: Seen = request.state.seen
        seen.update(tenant=None, model=None, outcome="unavailable")
        outcomes: list[str] = []
        try:
            caller = await self.who.calls(request, tokens=True)
            read = reader(request)
            with self.room.hold() as hold:
                wanted = await self._wanted(request, caller, read, hold)
                model = self.catalog.current.find(wanted.asks[0].model)
                seen["model"] = None if model is None else model.name
                if caller.policy.log_prompts:
                    seen["prompt"] = wanted.asks[0].prompt[:LOGGED_PROMPT]
                calls = _calls(request, seen["request_id"], hold, wanted)
                made = await self._made(calls, caller, wanted)
                if len(calls) == 1:
                    seen.update(calls[0].seen())
                outcomes.extend(one.origin if isinstance(one, Reply) else one.outcome for one in made)
                return await self._rendered(seen, calls, made, wanted, caller)
        except GatewayError as error:
            outcomes = outcomes or [error.outcome]
            seen.update(outcome=error.outcome, reason=reason(error))
            raise
        except ClientDisconnect:
            seen["outcome"] = "disconnected"
            return Response(status_code=499)
        finally:
            if seen["outcome"] != "disconnected":
                for outcome in outcomes or [seen["outcome"]]:
                    self.metrics.count_request(seen["tenant"], seen["model"], outcome)

    async def _wanted(self, request: Request, caller: Caller, read: Read, hold: Hold) -> Wanted:
        cap = caller.policy.max_body_mb
        body = await read_body(request, DEFAULT_CAP_MIB if cap is None else cap, hold)
        today, catalog = self.calendar.date(clock.now()), self.catalog.current
        usable = usable_by(caller, catalog, today)

        def understood() -> Wanted:
            members, images = read(body)
            return wanted_of(members, catalog.rules(today), usable=usable, images=images)

        try:
            return await aside(understood) if len(body) > OFF_LOOP else understood()
        except Violation as violation:
            raise InvalidRequest(violation.text, parameter=violation.name) from None

    async def _made(self, calls: Sequence[Call], caller: Caller, wanted: Wanted) -> list[Reply | GatewayError]:
        """Make the images, all at once: each may fail by itself, and one that fails stops no other.

        Raises KeyReused if an idempotency key that one of them has is another request's, LedgerUnavailable.
        """
        await self._require_same(calls, caller, wanted)
        first = asyncio.create_task(self._one(calls[0], caller, wanted, 0))
        made, others = await asyncio.gather(first, self._others(first, calls, caller, wanted))
        return [made, *others]

    async def _others(
        self, first: "asyncio.Task[Reply | GatewayError]", calls: Sequence[Call], caller: Caller, wanted: Wanted
    ) -> list[Reply | GatewayError]:
        """Make all images but the first, whose idempotency key stands for all: none is begun if that was refused."""
        if len(calls) > 1 and calls[0].idempotency_key is not None:
            await calls[0].accounted(first)
            if first.done():
                if isinstance(first.result(), GatewayError) and not (calls[0].reserved.is_set() or calls[0].collapsed):
                    return []
                try:
                    await self._require_same(calls, caller, wanted)  # what the cache had holds no key by itself
                except LedgerUnavailable as error:
                    return [error] * (len(calls) - 1)  # the first is there, and perhaps paid for
        return await asyncio.gather(*(self._one(calls[index], caller, wanted, index) for index in range(1, len(calls))))

    async def _require_same(self, calls: Sequence[Call], caller: Caller, wanted: Wanted) -> None:
        """Return if the idempotency key of each of several images is new or its own.

        Raises KeyReused and LedgerUnavailable.
        """
        if len(calls) > 1:
            for call, ask in zip(calls, wanted.asks, strict=True):
                await self.generator.require_same(call, caller, ask)

    async def _one(self, call: Call, caller: Caller, wanted: Wanted, index: int) -> Reply | GatewayError:
        try:
            return await self.generator.generate(call, caller, wanted.asks[index])
        except GatewayError as error:
            return error

    async def _rendered(
        self, seen: Seen, calls: Sequence[Call], made: Sequence[Reply | GatewayError], wanted: Wanted, caller: Caller
    ) -> Response:
        """Answer with the images that there are; with the error if there is none."""
        replies = [one for one in made if isinstance(one, Reply)]
        errors = {index: one for index, one in enumerate(made) if isinstance(one, GatewayError)}
        said = calls[0].headers() if len(calls) == 1 else _limits(calls)
        if not replies:
            # The one that forbids another try speaks for all: a repeat would repeat that one too.
            error = next((one for one in errors.values() if one.final), errors[0])
            error.headers.update(said)
            raise error
        cost = sum(reply.cost for reply in replies)
        seen.update(
            outcome=replies[0].origin,
            generation=",".join(reply.generation_id for reply in replies),
            cost_yuan=format_yuan(cost),
            images=sum(len(reply.images) for reply in replies),
        )
        content: dict[str, Any] = {"created": clock.now() // 1000, "data": []}
        for reply in replies:
            envelope = await self.renderer.envelope(reply, _FORMATS[wanted.form], caller.policy.link_ttl)
            content["data"].extend(_image(image) for image in envelope["data"])
        if errors:
            content["errors"] = [
                {"index": index, "status": error.status, "message": error.text} for index, error in errors.items()
            ]
        if all(reply.origin == "replayed" for reply in replies):
            said["Idempotent-Replayed"] = "true"
        said |= self.renderer.kept([image for reply in replies for image in reply.images]) | {
            "X-Generation-Id": ", ".join(reply.generation_id for reply in replies),
            "X-Cost-Yuan": format_yuan(cost),
            "Cache-Control": "private, no-store",
        }
        return Response(orjson.dumps(content), media_type="application/json", headers=said)


def _json_reader(request: Request) -> Read:
    if not is_plain_json(request.headers.get("content-type"), request.headers.get("content-encoding")):
        raise UnsupportedMediaType
    return lambda body: (read_members(body), ())


def _form_reader(request: Request) -> Read:
    content_type = request.headers.get("content-type")
    if content_type is None or not is_form(content_type) or request.headers.get("content-encoding") is not None:
        raise UnsupportedMediaType("Invalid Content-Type header. Supported type: multipart/form-data")

    def read(body: bytes) -> tuple[dict[str, Any], Sequence[bytes]]:
        form = read_form(content_type, body)
        if not form.images:
            raise Violation("Invalid image parameter. An image file is required", "image")
        return form.fields, form.images

    return read


def _calls(request: Request, request_id: str, hold: Hold, wanted: Wanted) -> list[Call]:
    """Make a call for each ask. Raises InvalidRequest."""
    asks, user = wanted.asks, wanted.user
    key, directives = idempotency_key(request), read_directives(request.headers.getlist("cache-control"))
    if key is not None and len(asks) > 1 and len(key) > MOST_KEY_CHARACTERS:
        rule = f"At most {MOST_KEY_CHARACTERS} characters are supported with n above 1"
        raise InvalidRequest(f"Invalid Idempotency-Key header. {rule}")
    # A caller's key has no space, so that none is the one of another image.
    keys = [key if key is None or index == 0 else f"{key} {index}" for index in range(len(asks))]
    return [
        # Asks with a seed differ by it already, and so share the cache with our own endpoint.
        Call(
            request_id,
            keys[index],
            room=hold,
            directives=directives,
            user=user,
            index=index if ask.seed is None else 0,
        )
        for index, ask in enumerate(asks)
    ]


def _limits(calls: Sequence[Call]) -> dict[str, str]:
    """Say of several generations only what is true of all: what is left of the limits."""
    return ratelimit_headers(verdict for call in calls for verdict in call.verdicts)


def _image(image: dict[str, Any]) -> dict[str, Any]:
    """Write an image of our envelope as OpenAI's SDKs read it."""
    field = "url" if image["type"] == "url" else "b64_json"
    shown = {field: image["image"]}
    if image["revised_prompt"] is not None:
        shown["revised_prompt"] = image["revised_prompt"]
    return shown
