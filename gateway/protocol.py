"""HTTP/1.1 on the wire: uvicorn's httptools protocol, with what it leaves to a proxy in front.

- What is not HTTP is answered in the contract's envelope, but never into an answer that is still owed.
- Headers have a deadline and a size, so that a connection which sends a byte now and then does not live for ever.
- An upgrade is declined by ignoring it (RFC 9110, 7.8): the body of the request is its body, not another request.
- An answer that comes before the whole body is read ends the connection, but not at once: a connection that is closed
  with bytes unread is reset, and takes the answer with it (RFC 9112, 9.6).
"""

import asyncio
from typing import Any

import httptools
import orjson
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from gateway.ids import new_id

HEADER_SECONDS = 10.0
HEADER_BYTES = 64 * 1024
LINGER_SECONDS = 2.0
LINGER_BYTES = 128 * 1024
"""So much of a body is read and thrown away after an early answer; a caller who listens has it by then."""

_UPGRADE = frozenset({b"upgrade", b"http2-settings"})


class Protocol(HttpToolsProtocol):
    """One connection."""

    _answering: RequestResponseCycle | None = None
    """The request whose answer is owed; `cycle` is the one that was read last."""

    _late: asyncio.TimerHandle | None = None
    _lingering: asyncio.TimerHandle | None = None
    _lingered_bytes = 0
    _header_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Expect the headers of a first request."""
        super().connection_made(transport)
        self._socket = transport
        self.transport = _GentlyClosed(self, transport)  # type: ignore[assignment]  # as much of one as is used
        self._expect_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the deadlines."""
        self._forget_deadline()
        if self._lingering is not None:
            self._lingering.cancel()
        if self._answering is not None and not self._answering.response_complete:
            self._answering.disconnected = True
            self._answering.message_event.set()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what came in."""
        if self._lingering is not None:
            self._lingered_bytes += len(data)
            if self._lingered_bytes > LINGER_BYTES:
                self._socket.pause_reading()
            return
        self._unset_keepalive_if_required()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._decline_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserError:
            self._refuse(400, "Invalid HTTP request received.")

    def on_message_begin(self) -> None:
        """Expect the headers of a request."""
        self._expect_headers()
        self._header_bytes = 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Count what the request line holds."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count what the headers hold."""
        self._count(len(name) + len(value))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Let the request begin; its body has a deadline of its own."""
        if self.parser.should_upgrade():
            return  # it begins when it is read again, without the upgrade
        self._forget_deadline()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a piece of a body."""
        if not self.parser.should_upgrade():
            super().on_body(body)

    def on_message_complete(self) -> None:
        """Take the end of a body, and say that nothing has to be waited for."""
        if not self.parser.should_upgrade():
            self.scope["state"]["whole"] = True
            super().on_message_complete()

    def close_gently(self) -> None:
        """Close once the answer has left; if the request is still coming in, say so first and give it a moment."""
        if self._lingering is not None:
            return
        self.pipeline.clear()
        cycle = self._answering
        if cycle is None or not cycle.more_body or self._socket.is_closing():
            self._socket.close()
            return
        self._lingering = self.loop.call_later(LINGER_SECONDS, self._socket.close)
        self._socket.write_eof()
        self.flow.resume_reading()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        """Answer a request: the first, or the next of those that came in one after the other."""
        self._answering = cycle
        super()._start_asgi_task(cycle, app)

    def _decline_upgrade(self, rest: bytes) -> None:
        """Read the request again without its wish to upgrade, and go on with what follows."""
        method, version = self.parser.get_method(), self.parser.get_http_version().encode()
        if method == b"CONNECT":
            self._refuse(405, "Method not allowed")
            return
        head = b"%s %s HTTP/%s\r\n" % (method, self.url, version)
        for name, value in self.headers:
            kept = _without_upgrade(value) if name == b"connection" else value
            if name not in _UPGRADE and kept:
                head += b"%s: %s\r\n" % (name, kept)
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn has it
        self.data_received(head + b"\r\n" + rest)

    def _expect_headers(self) -> None:
        if self._late is None:
            self._late = self.loop.call_later(HEADER_SECONDS, self._headers_late)

    def _forget_deadline(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _headers_late(self) -> None:
        self._late = None
        self._refuse(408, "Request headers were not received in time")

    def _count(self, size: int) -> None:
        self._header_bytes += size
        if self._header_bytes > HEADER_BYTES:
            raise httptools.HttpParserError("headers are too large")

    def _refuse(self, status: int, text: str) -> None:
        """Answer what is no request, and close; but let an answer that is owed go out first."""
        if self._socket.is_closing():
            return
        owed = self._answering
        if owed is not None and not owed.response_complete:
            owed.keep_alive = False
            self.pipeline.clear()
            if owed is not self.cycle or not owed.more_body:
                self.cycle = owed
                self.flow.pause_reading()
                return
            if owed.response_started:
                self._socket.close()
                return
        body = orjson.dumps({"code": -1, "msg": text})
        headers: list[tuple[bytes, Any]] = [
            *self.server_state.default_headers,
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
            (b"x-request-id", new_id("req").encode()),
            (b"connection", b"close"),
        ]
        head = b"".join(b"%s: %s\r\n" % header for header in headers)
        self._socket.write(STATUS_LINE[status] + head + b"\r\n" + body)
        self._socket.close()


def _without_upgrade(value: bytes) -> bytes:
    """Return a Connection header without its tokens for an upgrade."""
    tokens = [token.strip() for token in value.split(b",")]
    return b", ".join(token for token in tokens if token.lower() not in _UPGRADE)


class _GentlyClosed:
    """What uvicorn uses of a transport. Closing it is left to the protocol; a head leaves with the body behind it."""

    def __init__(self, protocol: Protocol, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._later = protocol.loop.call_soon
        self._close = protocol.close_gently
        self._head = b""
        self.is_closing = transport.is_closing

    def write(self, data: bytes) -> None:
        """Write; a head waits for what comes in the same turn of the loop, since each write is a call of the system."""
        if self._head:
            data, self._head = self._head + data, b""
        elif data.startswith(b"HTTP/1.1 "):
            self._head = data
            self._later(self._flush)
            return
        self._transport.write(data)

    def close(self) -> None:
        """Close once what was written has left."""
        self._flush()
        self._close()

    def _flush(self) -> None:
        if self._head:
            head, self._head = self._head, b""
            self._transport.write(head)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)
