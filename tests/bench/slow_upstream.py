"""An upstream that takes its time: every generation the same number of seconds, thousands of them at once.

`python -m tests.bench.slow_upstream PORT SECONDS`. GET /count answers with how many generations it was asked for.
As little as possible happens in it, so that it is on time whatever the load.
"""

import asyncio
import sys
from typing import cast

import httptools
import uvloop

from tests.bench.nginx import reply

_IMAGE = "https://example.com/image.png"
BACKLOG = 4096


class SlowUpstream:
    """The one reply, when it is due, and the count."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.asked = 0
        self.reply = _http(reply("url", _IMAGE))


class Connection(asyncio.Protocol):
    """One connection of a client, which asks for one thing at a time (RFC 9112, 9.3)."""

    def __init__(self, upstream: SlowUpstream) -> None:
        self._upstream = upstream
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own class, which is no subclass

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        """Answer: the count at once, a generation in its time."""
        if self._parser.get_method() == b"GET":
            self._answer(_http(str(self._upstream.asked).encode()))
            return
        self._upstream.asked += 1
        asyncio.get_running_loop().call_later(self._upstream.seconds, self._answer, self._upstream.reply)

    def _answer(self, reply: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(reply)


async def serve(port: int, seconds: float) -> None:
    """Serve until cancelled."""
    upstream = SlowUpstream(seconds)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(upstream), "127.0.0.1", port, backlog=BACKLOG)
    async with server:
        await server.serve_forever()


def _http(body: bytes) -> bytes:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), float(sys.argv[2])))
