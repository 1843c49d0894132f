"""Answers that break the connection, or keep it waiting.

ASGI has no word for closing a connection in the middle of an answer: an application that raises or returns early
gets a traceback or a line in the server's log, and a 500 if nothing was sent. So the simulator's server
(`serving.py`) hands its transport down in the scope, and these answers close it themselves; uvicorn then sees a
client that went away, which is nothing to report.
"""

import asyncio
from collections.abc import AsyncIterator

from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gateway.simulator.answers import Answer

_EXTENSION = "gateway.simulator"
_PIECES = 20
_MEGABYTE = b"QUJD" * (1024 * 256)


class CuttableProtocol(HttpToolsProtocol):
    """uvicorn's HTTP/1.1 protocol, with its transport in every scope."""

    def on_message_begin(self) -> None:
        """Begin a request."""
        super().on_message_begin()
        self.scope["extensions"] = {_EXTENSION: {"transport": self.transport}}


class Close(Response):
    """No answer: the connection is closed."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Close the connection."""
        del send
        await _hang_up(scope, receive)


class Cut(Response):
    """Half an answer, then the end of the connection."""

    def __init__(self, answer: Answer) -> None:
        """Promise the whole body in Content-Length."""
        super().__init__(answer.body, answer.status, answer.headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the head and half of the body, and close the connection."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        half = bytes(self.body[: len(self.body) // 2])
        await send({"type": "http.response.body", "body": half, "more_body": True})
        await _hang_up(scope, receive)


class Silence(Response):
    """No answer, and no end, until the client leaves or the simulator closes."""

    def __init__(self, closing: asyncio.Event) -> None:
        """Wait for `closing` at the longest."""
        super().__init__()
        self._closing = closing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Wait."""
        del send
        waits = [asyncio.ensure_future(_client_gone(receive)), asyncio.ensure_future(self._closing.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        await _hang_up(scope, receive)


def drip(answer: Answer, seconds: float) -> Response:
    """Send the body in small pieces, evenly over so many seconds."""
    size = -(-len(answer.body) // _PIECES)

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(answer.body), size):
            await asyncio.sleep(seconds / _PIECES)
            yield answer.body[start : start + size]

    headers = {**answer.headers, "Content-Length": str(len(answer.body))}
    return StreamingResponse(pieces(), answer.status, headers)


def huge(megabytes: int) -> Response:
    """Send a success whose image is so many megabytes of Base64, without saying so beforehand."""

    async def pieces() -> AsyncIterator[bytes]:
        yield b'{"code":0,"data":[{"type":"base64","mimeType":"image/png","revised_prompt":null,"image":"'
        for _ in range(megabytes):
            yield _MEGABYTE
        yield b'"}],"model":"huge","provider":"huge","usage":{}}'

    return StreamingResponse(pieces(), headers={"Content-Type": "application/json"})


async def _client_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _hang_up(scope: Scope, receive: Receive) -> None:
    """Close the connection once what was written is sent.

    Raises ConnectionError under a server that did not hand its transport down.
    """
    extension = scope.get("extensions", {}).get(_EXTENSION)
    if extension is None:
        raise ConnectionError("only the simulator's own server can close a connection without an answer")
    extension["transport"].close()
    await _client_gone(receive)
