"""The simulated upstream as an ASGI application: what happens to a call, in order."""

import asyncio
import hashlib
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from time import monotonic
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gateway import clock
from gateway.ids import new_id
from gateway.money import format_yuan
from gateway.simulator import answers, asked, connection
from gateway.simulator.answers import Answer
from gateway.simulator.asked import Asked, Refused
from gateway.simulator.bill import Bill, BilledImage, BillLine
from gateway.simulator.config import SimulatorConfig
from gateway.simulator.drawing import Recipe, recipe
from gateway.simulator.faults import KEY_ERROR, Fault, InvalidFault, without_markers
from gateway.simulator.gallery import Gallery, Link
from gateway.simulator.rules import Faults
from gateway.simulator.tally import CountOpen, Tally

PATH = "/images/generate"
_BODY_MAX = 240 * 1024 * 1024  # eight images of 20 MB as Base64, and room
_SMALL_BODY = 64 * 1024


class Simulator:
    """One upstream: its accounts, faults, pictures, links, bill and counts."""

    def __init__(self, config: SimulatorConfig) -> None:
        """Read the bill and the fault rules.

        Raises InvalidFault for rules that cannot be followed, OSError for files that cannot be read.
        """
        self._config = config
        self._accounts = {key: str(position) for position, key in enumerate(config.keys)}
        self._faults = Faults(config.faults_path)
        self._gallery = Gallery(config.fixed_size)
        self._bill = Bill(config.bill_path)
        self._tally = Tally()
        self._chance = random.Random(config.seed)  # noqa: S311 -- picture seeds, not secrets
        self._closing = asyncio.Event()

    def application(self) -> Starlette:
        """Return the ASGI application."""
        return Starlette(
            routes=[
                Route(PATH, self._generate, methods=["POST"]),
                Route("/files/{name}", self._file),
                Route("/simulator/stats", self._stats),
                Route("/simulator/bill", self._total),
                Route("/simulator/calls", self._calls),
            ],
            middleware=[Middleware(CountOpen, tally=self._tally, path=PATH)],
            exception_handlers={HTTPException: _http_failure, Exception: _bug},
            lifespan=self._lifespan,
        )

    def let_go(self) -> None:
        """End what waits on purpose (silent and delayed calls), so that the server can stop."""
        self._closing.set()

    @asynccontextmanager
    async def _lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        try:
            yield
        finally:
            self._gallery.close()

    async def _generate(self, request: Request) -> Response:
        """POST /images/generate: who, what, which fault; work, bill, answer."""
        if (account := self._account(request)) is None:
            return self._refuse("unauthorized", KEY_ERROR, 401)
        try:
            wanted = await self._asked(request, account)
            fault = self._faults.of(wanted, account)
        except Refused as refusal:
            return self._refuse("refused", refusal.text, refusal.status)
        except InvalidFault as mistake:
            return self._refuse("refused", f"Invalid prompt parameter. {mistake}", 400)
        await self._take_time(self._config.delay + fault.delay)
        price = self._config.prices[wanted.model]
        if (failure := answers.failure(fault, answers.cost_of(fault, price))) is not None:
            if "error-cost" in fault:
                await self._charge(wanted, account, fault, ())
            self._tally.outcomes[f"failed: {fault.names}"] += 1
            return self._deliver(failure, fault)
        items, billed = await self._work(request, wanted, fault)
        await self._charge(wanted, account, fault, billed)
        self._tally.outcomes["generated" if fault.names == "none" else f"generated: {fault.names}"] += 1
        return self._deliver(answers.success(wanted, fault, items, answers.cost_of(fault, price)), fault)

    def _account(self, request: Request) -> str | None:
        """Say whose key it is. The document shows a bare key and `Bearer`; a scheme's case is free (RFC 9110, 11.1)."""
        headers = request.headers.getlist("authorization")
        words = headers[0].split() if len(headers) == 1 else []
        if words and words[0].lower() == "bearer":
            del words[0]
        if len(words) != 1:
            return None
        if self._accounts:
            return self._accounts.get(words[0])
        return hashlib.sha256(words[0].encode()).hexdigest()[:8]

    async def _asked(self, request: Request, account: str) -> Asked:
        media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if media_type != "application/json":
            raise Refused("Invalid Content-Type header. Supported type: application/json", 415)
        if request.headers.get("content-encoding", "identity") != "identity":
            raise Refused("Invalid Content-Encoding header. Not supported", 415)
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > _BODY_MAX:
                raise Refused("Request body is too large", 413)
        if len(body) <= _SMALL_BODY:
            return self._understand(body, account)
        return await asyncio.to_thread(self._understand, body, account)

    def _understand(self, body: bytearray, account: str) -> Asked:
        members = asked.parse(body)
        self._tally.remember(account, members)
        return asked.check(members, self._config.prices)

    async def _take_time(self, seconds: float) -> None:
        if seconds > 0:
            try:
                await asyncio.wait_for(self._closing.wait(), seconds)
            except TimeoutError:
                return  # the usual end: nothing closed the simulator meanwhile

    async def _work(
        self, request: Request, wanted: Asked, fault: Fault
    ) -> tuple[list[dict[str, Any]], tuple[BilledImage, ...]]:
        """Draw the images; return the answer's items, and what the bill says of them."""
        prompt = without_markers(wanted.prompt)
        seed = self._chance.getrandbits(64) if wanted.seed is None else wanted.seed
        items: list[dict[str, Any]] = []
        billed: list[BilledImage] = []
        for index in range(0 if "no-images" in fault else fault.images):
            picture = self._gallery.resized(recipe(wanted, prompt, seed, index))
            mime_type = picture.mime_type
            if "wrong-mime" in fault:
                picture, mime_type = replace(picture, format="jpeg"), "image/png"
            spoilt = f"no image: {picture.digest}".encode() if "bad-image" in fault else None
            image = await self._gallery.image(picture) if spoilt is None else spoilt
            billed.append(BilledImage(hashlib.sha256(image).hexdigest(), len(image), picture.width, picture.height))
            if answers.wants_base64(wanted, fault):
                items.append(answers.base64_item(fault, image, mime_type))
            else:
                url = self._link(request, fault, picture, mime_type, spoilt)
                items.append(answers.url_item(fault, url, f"{prompt}, fine detail, soft light"))
        return items, tuple(billed)

    def _link(self, request: Request, fault: Fault, picture: Recipe, mime_type: str, spoilt: bytes | None) -> str:
        seconds = 0.0 if "expired-link" in fault else self._config.link_seconds
        link = Link(picture, mime_type, monotonic() + seconds, "bad-link" in fault, fault.slow_link, spoilt)
        base = str(request.base_url) if self._config.public_url is None else self._config.public_url
        return f"{base.rstrip('/')}/files/{self._gallery.publish(link)}"

    async def _charge(self, wanted: Asked, account: str, fault: Fault, images: tuple[BilledImage, ...]) -> None:
        if "unbilled" not in fault:
            await self._bill.add(
                BillLine(
                    id=new_id("bill"),
                    at=clock.now(),
                    account=account,
                    model=wanted.model,
                    cost=answers.cost_of(fault, self._config.prices[wanted.model]),
                    images=images,
                    prompt_sha256=hashlib.sha256(wanted.prompt.encode()).hexdigest(),
                    cut=answers.withholds(fault),
                )
            )

    def _deliver(self, answer: Answer, fault: Fault) -> Response:
        """Send the answer, or as much of it as the fault lets through."""
        if "silence" in fault:
            return connection.Silence(self._closing)
        if "close" in fault:
            return connection.Close()
        if "cut" in fault:
            return connection.Cut(answer)
        if fault.huge is not None:
            return connection.huge(fault.huge)
        if fault.drip > 0:
            return connection.drip(answer, fault.drip)
        return Response(answer.body, answer.status, answer.headers)

    def _refuse(self, outcome: str, text: str, status: int) -> Response:
        self._tally.outcomes[outcome] += 1
        return _response(answers.envelope(text, status))

    async def _file(self, request: Request) -> Response:
        """GET /files/{name}: a picture by its link, 410 once it has expired."""
        link = self._gallery.link(request.path_params["name"])
        answer = await self._linked(link)
        self._tally.links[str(answer.status_code)] += 1
        return answer

    async def _linked(self, link: Link | None) -> Response:
        if link is None:
            return _response(answers.envelope("Not found", 404))
        await self._take_time(link.late)
        if link.denied:
            return _response(answers.envelope("Access denied", 403))
        if link.expired:
            return _response(answers.envelope("The link has expired", 410))
        image = await self._gallery.image(link.picture) if link.spoilt is None else link.spoilt
        return Response(image, media_type=link.mime_type)

    async def _stats(self, _request: Request) -> Response:
        """GET /simulator/stats: the counts."""
        return JSONResponse(self._tally.report())

    async def _total(self, _request: Request) -> Response:
        """GET /simulator/bill: the sum of the bill."""
        total = self._bill.total
        return JSONResponse({"lines": total.lines, "images": total.images, "cost_yuan": format_yuan(total.cost)})

    async def _calls(self, _request: Request) -> Response:
        """GET /simulator/calls: what the last calls sent, oldest first."""
        return JSONResponse({"calls": list(self._tally.seen)})


def build(config: SimulatorConfig) -> Starlette:
    """Make a simulated upstream as an ASGI application.

    Under another server than the simulator's own (`serving.server`), the faults that close a connection are errors
    of the application instead. Raises InvalidFault or OSError for files that cannot be used.
    """
    return Simulator(config).application()


def _response(answer: Answer) -> Response:
    return Response(answer.body, answer.status, answer.headers)


async def _http_failure(_request: Request, failure: Exception) -> Response:
    """Answer the framework's own errors in the envelope."""
    if not isinstance(failure, HTTPException):
        raise failure
    texts = {404: "Not found", 405: "Method not allowed"}
    headers = None if failure.headers is None else dict(failure.headers)
    return _response(answers.envelope(texts.get(failure.status_code, failure.detail), failure.status_code, headers))


async def _bug(_request: Request, _failure: Exception) -> Response:
    """Answer; the server then logs what happened."""
    return _response(answers.envelope("Internal error", 500))
