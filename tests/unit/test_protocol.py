"""What the wire does with slow headers, upgrades, nonsense behind a request, and answers that come early."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
import uvicorn
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.server import ServerState

import gateway.protocol
from gateway.protocol import Protocol


@asynccontextmanager
async def connected(app: ASGIApp) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Serve an application with this protocol; give a connection to it."""
    config = uvicorn.Config(app, http=Protocol, ws="none", lifespan="off", log_config=None)
    config.load()
    state = ServerState()
    server = await asyncio.get_running_loop().create_server(
        lambda: Protocol(config=config, server_state=state, app_state={}), "127.0.0.1", 0
    )
    async with server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        try:
            yield reader, writer
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()


@pytest.mark.parametrize(
    "pieces",
    [
        (),
        (b"POST /images/generate HTTP/1.1\r\n",),
        (b"GET / HTTP/1.1\r\nHost: x\r\n", b"X: y"),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"GET / HTTP/1.1\r\n"),
    ],
    ids=["nothing", "a request line", "half a header", "half a second request"],
)
def test_headers_that_do_not_come_are_not_waited_for(
    pieces: tuple[bytes, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the deadline the connection is answered 408 in the envelope, and closed."""
    monkeypatch.setattr(gateway.protocol, "HEADER_SECONDS", 0.1)

    async def converse() -> bytes:
        async with connected(PlainTextResponse("hello")) as (reader, writer):
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
            return await asyncio.wait_for(reader.read(), 10)

    received = asyncio.run(converse())
    assert b"HTTP/1.1 408 " in received
    assert received.endswith(b'{"code":-1,"msg":"Request headers were not received in time"}')


def test_a_request_that_came_in_time_has_no_deadline_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once the headers are there the deadline is gone: a slow answer is not cut."""
    monkeypatch.setattr(gateway.protocol, "HEADER_SECONDS", 0.05)

    async def late(scope: Scope, receive: Receive, send: Send) -> None:
        released = asyncio.Event()
        asyncio.get_running_loop().call_later(0.2, released.set)
        await released.wait()
        await PlainTextResponse("late")(scope, receive, send)

    async def converse() -> bytes:
        async with connected(late) as (reader, writer):
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            return await asyncio.wait_for(reader.read(), 10)

    assert asyncio.run(converse()).endswith(b"late")


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with the body of the request."""
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    await PlainTextResponse(scope["method"].encode() + b" " + scope["path"].encode() + b" " + body)(
        scope, receive, send
    )


@pytest.mark.parametrize("together", [True, False], ids=["in one piece", "body later"])
def test_an_upgrade_is_declined_by_ignoring_it(*, together: bool) -> None:
    """The body of a request that wishes to upgrade is its body, never another request (RFC 9110, 7.8)."""
    smuggled = b"GET /admin HTTP/1.1\r\nHost: x\r\n\r\n"
    head = (
        b"POST /first HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
        b"HTTP2-Settings: AAMAAABkAAQAAP__\r\nContent-Length: %d\r\n\r\n" % len(smuggled)
    )
    last = b"GET /second HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"

    async def converse() -> bytes:
        async with connected(echo) as (reader, writer):
            for piece in [head + smuggled + last] if together else [head, smuggled, last]:
                writer.write(piece)
                await writer.drain()
            return await asyncio.wait_for(reader.read(), 10)

    received = asyncio.run(converse())
    assert received.count(b"HTTP/1.1 200 ") == 2
    assert b"POST /first " + smuggled in received
    assert received.endswith(b"GET /second ")


def test_a_tunnel_is_refused() -> None:
    """CONNECT has no way past: 405, and the connection is closed."""

    async def converse() -> bytes:
        async with connected(echo) as (reader, writer):
            writer.write(b"CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n")
            return await asyncio.wait_for(reader.read(), 10)

    assert asyncio.run(converse()).startswith(b"HTTP/1.1 405 ")


def test_a_declined_upgrade_keeps_the_wish_to_close() -> None:
    """Only the tokens of the upgrade leave the Connection header."""

    async def converse() -> bytes:
        async with connected(echo) as (reader, writer):
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, close\r\nUpgrade: websocket\r\n\r\n")
            return await asyncio.wait_for(reader.read(), 10)

    received = asyncio.run(converse())
    assert b"connection: close\r\n" in received.lower()
    assert received.endswith(b"GET / ")


@pytest.mark.parametrize(
    "behind",
    [
        b"\x00\x01 nonsense\r\n\r\n",
        b"GET /second HTTP/1.1\r\nHost: x\r\n\r\n\x00\x01 nonsense\r\n\r\n",
        b"POST /second HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
    ids=["at once", "behind a second request", "in the body of a second request"],
)
def test_nonsense_behind_a_request_does_not_cost_its_answer(behind: bytes) -> None:
    """What is owed is answered, and then the connection is closed; nothing is written in between."""

    async def converse() -> bytes:
        release = asyncio.Event()

        async def slow(scope: Scope, receive: Receive, send: Send) -> None:
            await release.wait()
            await PlainTextResponse("paid")(scope, receive, send)

        async with connected(slow) as (reader, writer):
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            writer.write(behind)
            await writer.drain()
            asyncio.get_running_loop().call_later(0.1, release.set)
            return await asyncio.wait_for(reader.read(), 10)

    received = asyncio.run(converse())
    assert received.startswith(b"HTTP/1.1 200 ")
    assert received.endswith(b"paid")
    assert b"400" not in received


def test_an_early_answer_reaches_a_caller_who_is_still_sending() -> None:
    """The connection is not reset under a body that nobody reads: the answer comes, and its end with it."""

    async def refuse(scope: Scope, receive: Receive, send: Send) -> None:
        await PlainTextResponse("no", 401, headers={"Connection": "close"})(scope, receive, send)

    async def converse() -> bytes:
        async with connected(refuse) as (reader, writer):
            writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 8000000\r\n\r\n")
            for _ in range(20):
                writer.write(bytes(10_000))
                await writer.drain()
            return await asyncio.wait_for(reader.read(), 10)

    received = asyncio.run(converse())
    assert received.startswith(b"HTTP/1.1 401 ")
    assert received.endswith(b"no")


def test_a_connection_with_an_early_answer_is_closed_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A caller who goes on sending for ever is cut off."""
    monkeypatch.setattr(gateway.protocol, "LINGER_SECONDS", 0.1)

    async def refuse(scope: Scope, receive: Receive, send: Send) -> None:
        await PlainTextResponse("no", 401, headers={"Connection": "close"})(scope, receive, send)

    async def send_for_ever(writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(bytes(100_000))
            await writer.drain()

    async def converse() -> None:
        async with connected(refuse) as (reader, writer):
            writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 800000000\r\n\r\n")
            await reader.read()
            with pytest.raises(ConnectionError):
                await asyncio.wait_for(send_for_ever(writer), 10)

    asyncio.run(converse())
