"""An upstream that does exactly what a test tells it, byte for byte, over real connections; and how tests call it."""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import orjson
from prometheus_client import CollectorRegistry

from gateway.metrics import Metrics
from gateway.upstream.client import Answered, Upstream, UpstreamConfig

KEY = "canary-5f2b9c81d4e7a0336f1c"
OTHER = "canary-0a6d8e2b7c914f53d8b9"
ASK = {"model": "flux-2-pro", "prompt": "一只小猫"}
LINK = {"type": "url", "image": "https://images.example/a.png", "mimeType": None, "revised_prompt": None}
SUCCESS: dict[str, object] = {
    "code": 0,
    "data": [LINK],
    "model": "flux-2-pro",
    "provider": "flux",
    "usage": {"cost": 0.04, "images_generated": 1, "images_failed": 0},
}


@dataclass
class Received:
    """One request as it came over the wire."""

    line: str
    headers: dict[str, str]
    body: bytes


Step = Callable[[asyncio.StreamWriter], Awaitable[bool]]
"""What to do with one request; returns whether the connection stays open."""


def replies(
    body: object = None,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    *,
    length: int | None = None,
    stay: bool = True,
) -> Step:
    """Send a whole reply; `length` lies about its length, `stay` says whether the connection is kept without a word."""
    payload = body if isinstance(body, bytes) else orjson.dumps(SUCCESS if body is None else body)
    lines = [f"HTTP/1.1 {status} Scripted", f"Content-Length: {len(payload) if length is None else length}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]

    async def step(writer: asyncio.StreamWriter) -> bool:
        writer.write("\r\n".join([*lines, "", ""]).encode() + payload)
        await writer.drain()
        return stay

    return step


async def hangs_up(_: asyncio.StreamWriter) -> bool:
    """Close as soon as the request is read."""
    return False


async def is_silent(writer: asyncio.StreamWriter) -> bool:
    """Never answer; end when the client gives up."""
    await writer.wait_closed()
    return False


async def drips(writer: asyncio.StreamWriter) -> bool:
    """Promise a long body and send it a byte at a time, for ever."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    while not writer.is_closing():
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.002)
    return False


@dataclass
class Scripted:
    """The running server: its base URL, what it received, and how many connections it took."""

    url: str
    received: list[Received] = field(default_factory=list)
    connections: int = 0


@asynccontextmanager
async def scripted(*steps: Step, early: bool = False, tls: ssl.SSLContext | None = None) -> AsyncIterator[Scripted]:
    """Serve the steps in order, the last one again and again; `early` answers before the body is read."""
    script = list(steps)
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        state.connections += 1
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                line, *rest = head.decode("latin-1").strip().split("\r\n")
                headers = {name.lower(): value.strip() for name, _, value in (text.partition(":") for text in rest)}
                body = b"" if early else await reader.readexactly(int(headers.get("content-length", 0)))
                state.received.append(Received(line, headers, body))
                step = script.pop(0) if len(script) > 1 else script[0]
                if not await step(writer):
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client went away, which is its right
        finally:
            writer.close()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0, backlog=4096, ssl=tls)
    state = Scripted(f"{'http' if tls is None else 'https'}://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    try:
        yield state
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def client(
    url: str, *keys: str, metrics: Metrics | None = None, connect_timeout: float = 2.0, reply_cap: int = 1 << 20
) -> AsyncIterator[Upstream]:
    """Build the client under test with short pauses, and close it."""
    config = UpstreamConfig(
        url, keys or (KEY,), connect_timeout=connect_timeout, reply_cap=reply_cap, waiting=2.0, first_pause=0.001
    )
    upstream = Upstream(config, Metrics(CollectorRegistry()) if metrics is None else metrics)
    try:
        yield upstream
    finally:
        await upstream.close()


async def ask(upstream: Upstream, seconds: float = 5.0, members: Mapping[str, object] | None = None) -> Answered:
    """Make one call, of ASK and `members`, that must end within `seconds`."""
    return await upstream.generate({**ASK, **(members or {})}, time.monotonic() + seconds)


async def until(true: Callable[[], object]) -> None:
    """Wait, 5 seconds at most, until something is so."""
    async with asyncio.timeout(5):
        while not true():  # noqa: ASYNC110 -- what is waited for happens in code that knows no event
            await asyncio.sleep(0.001)


def call(*steps: Step, seconds: float = 5.0, keys: tuple[str, ...] = (KEY,)) -> tuple[Answered, list[Received]]:
    """Make one call against a script; return what came of it and what upstream received."""

    async def story() -> tuple[Answered, list[Received]]:
        async with scripted(*steps) as server, client(server.url, *keys) as upstream:
            return await ask(upstream, seconds), server.received

    return asyncio.run(story())
