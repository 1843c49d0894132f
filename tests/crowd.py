"""Many callers at once, each on a connection of its own, spread evenly over a gateway's workers."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson

from tests.servers.gateway import GENERATE, Gateway
from tests.servers.workers import sleeping, workers_of

PATIENCE_SECONDS = 90.0


@dataclass(frozen=True, slots=True)
class Asking:
    """One request for an image: a tenant's key, the members of the body, and headers of its own."""

    key: str = field(repr=False)
    members: Mapping[str, object]
    headers: Mapping[str, str] = field(default_factory=dict)

    def written(self) -> bytes:
        """Return the request: of flux-2-pro, 64x64, unless the members say otherwise."""
        body = orjson.dumps({"model": "flux-2-pro", "width": 64, "height": 64, "prompt": "p"} | dict(self.members))
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"} | dict(self.headers)
        return _request("POST", GENERATE, headers, body)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a caller got. Header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def envelope(self) -> Any:
        """The body as JSON."""
        return orjson.loads(self.body)

    @property
    def link(self) -> str:
        """The link of the first image."""
        link: str = self.envelope["data"][0]["image"]
        return link

    @property
    def cache(self) -> str:
        """What became of it in one word of `Cache-Status`: `hit`, `collapsed`, or `made`."""
        words = self.headers.get("cache-status", "").split("; ")
        return next((word for word in ("hit", "collapsed") if word in words), "made")


class Line:
    """One connection, kept open between requests."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer

    async def ask(self, asking: Asking) -> Answer:
        """Ask for an image. Raises OSError or IncompleteReadError if the connection ends before the answer does."""
        self.writer.write(asking.written())
        return await self.answer()

    async def get(self, path: str, headers: Mapping[str, str] | None = None) -> Answer:
        """Ask for what is at a path. Raises like `ask`."""
        self.writer.write(_request("GET", path, {} if headers is None else headers, b""))
        return await self.answer()

    async def answer(self) -> Answer:
        """Read the next answer. Raises like `ask`."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            status, *lines = head.rstrip().split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            body = await self._reader.readexactly(int(headers.get("content-length", "0")))
        return Answer(int(status.split()[1]), headers, body)


@asynccontextmanager
async def line(port: int) -> AsyncIterator[Line]:
    """Open a connection until the block ends."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**22)
    try:
        yield Line(reader, writer)
    finally:
        writer.transport.abort()


@asynccontextmanager
async def lines(gateway: Gateway, number: int) -> AsyncIterator[dict[int, list[Line]]]:
    """Open so many connections to each worker until the block ends; they are found by the worker's process id."""
    async with AsyncExitStack() as stack:
        opened: dict[int, list[Line]] = {}
        workers = workers_of(gateway) or [gateway.pid]
        for worker in workers:
            with sleeping(*(other for other in workers if other != worker)):
                opened[worker] = [await stack.enter_async_context(line(gateway.port)) for _ in range(number)]
                for one in opened[worker]:  # so that it is accepted before another worker could
                    assert (await one.get("/livez")).status == 200
        yield opened


def at_once(gateway: Gateway, asked: Sequence[Asking]) -> list[Answer]:
    """Ask for all of it at the same time, by turns of each worker; return the answers in the same order."""
    return asyncio.run(_at_once(gateway, asked))


async def _at_once(gateway: Gateway, asked: Sequence[Asking]) -> list[Answer]:
    each = -(-len(asked) // (len(workers_of(gateway)) or 1))
    async with lines(gateway, each) as opened:
        turns = [one for each_worker in zip(*opened.values(), strict=True) for one in each_worker]
        answers: list[Answer] = await asyncio.gather(
            *(one.ask(asking) for one, asking in zip(turns, asked, strict=False))
        )
        return answers


def statuses(answers: Iterable[Answer]) -> dict[int, int]:
    """Count the answers by their status."""
    return dict(Counter(answer.status for answer in answers))


def _request(method: str, path: str, headers: Mapping[str, str], body: bytes) -> bytes:
    named = {"Host": "gateway", "Content-Length": str(len(body))} | dict(headers)
    head = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in named.items())]
    return "\r\n".join([*head, "", ""]).encode("latin-1") + body
