"""An upstream that means harm: its answers, the links in them and what those lead to are whatever a test says."""

import asyncio
import gzip
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TypeAlias

import orjson

Behaviour: TypeAlias = Callable[[asyncio.StreamWriter], Awaitable[None]]
"""Writes an answer, or something else, or for ever."""

COST_MICROS = 40_000
GUARDED = ("127.0.0.1", "127.0.0.2", "::1")
MIB = 1 << 20


@dataclass
class Hostile:
    """A running one. A request's prompt chooses its answer, a link's path what it leads to; what is unknown is 404."""

    answers: dict[str, Behaviour] = field(default_factory=dict)
    pages: dict[str, Behaviour] = field(default_factory=dict)
    heads: list[bytes] = field(default_factory=list)
    """The heads of the requests for pages."""
    port: int = 0

    @property
    def url(self) -> str:
        """Where it serves."""
        return f"http://127.0.0.1:{self.port}"

    def links(self, prompt: str, link: str) -> None:
        """Answer a prompt with an image by this link."""
        self.answers[prompt] = whole(success("url", link), "Content-Type: application/json")

    def leads(self, name: str, page: Behaviour) -> None:
        """Answer the prompt of this name with a link to a page."""
        self.pages[f"/{name}"] = page
        self.links(name, f"{self.url}/{name}")

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection."""
        with suppress(ConnectionError, asyncio.IncompleteReadError), closing_at_once(writer):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                method, path, *_ = head.decode("latin-1").split(" ")
                if method == "POST":
                    body = orjson.loads(await reader.readexactly(_length(head)))
                    answer = self.answers.get(body["prompt"], whole(b"", status="404 Not Found"))
                else:
                    self.heads.append(head)
                    answer = self.pages.get(path, whole(b"", status="404 Not Found"))
                await answer(writer)
                await writer.drain()


@contextmanager
def closing_at_once(writer: asyncio.StreamWriter) -> Iterator[None]:
    """Leave nothing of a connection behind."""
    try:
        yield
    finally:
        writer.transport.abort()


def whole(body: bytes, *headers: str, status: str = "200 OK") -> Behaviour:
    """Answer with a body."""
    head = "\r\n".join([f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""])

    async def behave(writer: asyncio.StreamWriter) -> None:
        writer.write(head.encode("utf-8", "surrogateescape") + body)

    return behave


def redirect(url: str) -> Behaviour:
    """Lead on to another URL."""
    return whole(b"", f"Location: {url}", status="302 Found")


def endless(begin: bytes, piece: bytes, *headers: str, pause: float = 0.0) -> Behaviour:
    """Answer with a body that has no end."""
    head = "\r\n".join(["HTTP/1.1 200 OK", *headers, "", ""])

    async def behave(writer: asyncio.StreamWriter) -> None:
        writer.write(head.encode() + begin)
        while True:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(pause)

    return behave


def bomb(begin: bytes, size: int) -> bytes:
    """Compress a beginning with so many zeros behind it; a two-hundredth of it is left."""
    return gzip.compress(begin + b"0" * size, 1)


def success(kind: str, image: str) -> bytes:
    """Write upstream's envelope of one image."""
    item = {"type": kind, "image": image, "mimeType": None if kind == "url" else "image/png", "revised_prompt": None}
    usage = {"cost": COST_MICROS / 1e6, "images_generated": 1, "images_failed": 0}
    return orjson.dumps(
        {"code": 0, "data": [item], "model": "flux-2-pro", "provider": "flux", "usage": usage},
    )


@contextmanager
def hostile() -> Iterator[Hostile]:
    """Run one, in a thread, until the block ends."""
    one, ready, loop = Hostile(), threading.Event(), asyncio.new_event_loop()
    serving: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = loop.create_task(one.serve(reader, writer))
        serving.add(task)
        task.add_done_callback(serving.discard)

    async def run(stopped: asyncio.Event) -> None:
        server = await asyncio.start_server(accept, "127.0.0.1", 0)
        one.port = server.sockets[0].getsockname()[1]
        ready.set()
        async with server:
            await stopped.wait()
            for task in serving:
                task.cancel()
            await asyncio.gather(*serving, return_exceptions=True)
            await asyncio.sleep(0)  # in which the connections are let go of

    stopped = asyncio.Event()
    thread = threading.Thread(target=loop.run_until_complete, args=[run(stopped)])
    thread.start()
    try:
        assert ready.wait(10)
        yield one
    finally:
        loop.call_soon_threadsafe(stopped.set)
        thread.join()
        loop.close()


class Listeners:
    """Listeners on guarded addresses, all at one port. Nobody answers there: a connection waits to be counted."""

    def __init__(self, sockets: list[socket.socket]) -> None:
        self._sockets = sockets
        self.port: int = sockets[0].getsockname()[1]

    def connections(self) -> int:
        """Count the connections that were made since it was asked last."""
        return sum(1 for listener in self._sockets for _ in _accepted(listener))


@contextmanager
def listeners() -> Iterator[Listeners]:
    """Listen until the block ends."""
    first = socket.create_server((GUARDED[0], 0))
    port = first.getsockname()[1]
    others = [
        socket.create_server((address, port), family=socket.AF_INET6 if ":" in address else socket.AF_INET)
        for address in GUARDED[1:]
    ]
    sockets = [first, *others]
    for listener in sockets:
        listener.setblocking(False)
    try:
        yield Listeners(sockets)
    finally:
        for listener in sockets:
            listener.close()


def _accepted(listener: socket.socket) -> Iterator[None]:
    with suppress(BlockingIOError):
        while True:
            listener.accept()[0].close()
            yield


def _length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.partition(b":")[2])
    return 0
