"""Connections that are slow with their headers do not live for ever."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

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
