"""One POST upstream and what came of it, as facts: a whole reply, never connected, or lost on the way.

The only module that knows the HTTP library: aiohttp's connections behind httpx's transport interface, called without
httpx's client, whose redirects, cookies and authentication flow are not wanted here and cost more than the call.

Whether a failed call was sent is decided by a fact, not by the kind of exception: the connector marks the call when it
hands over a connection. (The transport reports a connection that breaks after sending as a connect time-out.) aiohttp
sends nothing again by itself unless the method is idempotent, which POST is not.
"""

import asyncio
import select
import ssl
import time
import zlib
from collections.abc import AsyncIterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport
from httpx_aiohttp.transport import AiohttpResponseStream

from gateway.upstream.answer import Lost, NotConnected

_IDLE_SECONDS = 4.0
"""Below the 5 seconds after which common servers close: a call on a connection just closed is lost, not sent again."""

_DEAD_MAX = 16
"""As many closed connections are dropped by one call before it gives up."""

_HANG_UP = getattr(select, "POLLRDHUP", select.POLLHUP)  # where there is no RDHUP, only a full close is seen
_SLICE = 256 * 1024
_READ_BUFFER = 256 * 1024
_FAILURES = (httpx.HTTPError, aiohttp.ClientError, OSError)  # OSError includes TimeoutError


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole HTTP reply; `headers` finds names in any case."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Body:
    """A JSON body, in parts so that large images are not copied together."""

    parts: tuple[bytes, ...] = field(repr=False)

    def __len__(self) -> int:
        return sum(map(len, self.parts))


def headers_for(key: str) -> httpx.Headers:
    """Build the headers of every call with this key, once. They hold the key; their repr does not show it."""
    return httpx.Headers(
        {
            "Authorization": f"Bearer {key}",
            "Content-Type": "application/json",
            "Accept": "application/json",
            "Accept-Encoding": "identity",  # Base64 hardly shrinks, and a small reply could unfold without bound
            "User-Agent": "image-gateway",
        }
    )


@dataclass(slots=True)
class _Call:
    connected: bool = False


_call: ContextVar[_Call | None] = ContextVar("upstream_call", default=None)


class _Connector(aiohttp.TCPConnector):
    """Hands over no connection that upstream has closed, and marks the call of the current context once it has one."""

    async def connect(
        self, req: aiohttp.ClientRequest, traces: list[aiohttp.tracing.Trace], timeout: aiohttp.ClientTimeout
    ) -> aiohttp.connector.Connection:
        for _ in range(_DEAD_MAX):
            connection = await super().connect(req, traces, timeout)
            if not _hung_up(connection):
                if (call := _call.get()) is not None:
                    call.connected = True
                return connection
            connection.close()
        raise aiohttp.ServerDisconnectedError


def _hung_up(connection: aiohttp.connector.Connection) -> bool:
    """Ask the kernel, which knows of a close before the event loop has read it.

    Sent into a closed connection, a call is lost and its outcome unknown, although upstream never saw it.
    """
    if connection.transport is None:
        return True
    poll = select.poll()
    poll.register(connection.transport.get_extra_info("socket"), _HANG_UP)
    return bool(poll.poll(0))


class _Sliced(httpx.AsyncByteStream):
    """A large body, written piece by piece so that one upload does not hold the event loop."""

    def __init__(self, body: Body) -> None:
        self._body = body

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for part in self._body.parts:
            for start in range(0, len(part), _SLICE):
                yield part[start : start + _SLICE]


class Wire:
    """The connections to one URL. Many calls at once share them; no cookie, redirect, proxy or .netrc is used."""

    def __init__(self, url: str, connect_timeout: float, reply_cap: int) -> None:
        """Prepare; the first call opens the first connection. `connect_timeout` covers DNS, TCP and TLS."""
        self._url = httpx.URL(url)
        self._extensions = {"timeout": {"connect": connect_timeout, "pool": connect_timeout, "read": None}}
        self._reply_cap = reply_cap
        self._ssl: ssl.SSLContext | bool = _trust() if self._url.scheme == "https" else False
        self._transport = AiohttpTransport(verify=self._ssl, trust_env=False, client=self._session)

    def _session(self) -> aiohttp.ClientSession:
        # One TLS context and no limit: thousands of calls wait for seconds each, and how many is decided elsewhere.
        return aiohttp.ClientSession(
            connector=_Connector(limit=0, keepalive_timeout=_IDLE_SECONDS, ssl=self._ssl or True, ttl_dns_cache=30),
            cookie_jar=aiohttp.DummyCookieJar(),
            read_bufsize=_READ_BUFFER,
            trust_env=False,
        )

    async def post(self, headers: httpx.Headers, body: Body, deadline: float) -> Reply | NotConnected | Lost:
        """Send `body` once and read the whole reply, until `deadline` (`time.monotonic`)."""
        if len(body) <= _SLICE:
            request = httpx.Request(
                "POST", self._url, headers=headers, content=b"".join(body.parts), extensions=self._extensions
            )
        else:
            sized = headers.copy()
            sized["Content-Length"] = str(len(body))
            request = httpx.Request("POST", self._url, headers=sized, stream=_Sliced(body), extensions=self._extensions)
        return await self._exchange(request, deadline)

    async def get_root(self, deadline: float) -> Reply | NotConnected | Lost:
        """Ask the host for `/`, without a key: any reply shows that it can be reached."""
        request = httpx.Request("GET", self._url.join("/"), extensions=self._extensions)
        return await self._exchange(request, deadline)

    async def _exchange(self, request: httpx.Request, deadline: float) -> Reply | NotConnected | Lost:
        call = _Call()
        token = _call.set(call)
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                response = await self._transport.handle_async_request(request)
                try:
                    body = await self._read(response)
                finally:
                    await response.aclose()
        except _FAILURES as failure:
            # Only the names: the texts and the request inside some of these exceptions may hold the key.
            cause = failure.__cause__
            timeout = isinstance(failure, TimeoutError) or isinstance(cause, TimeoutError)
            if not call.connected:
                return NotConnected(timeout)
            return Lost(timeout, type(failure if cause is None else cause).__name__)
        finally:
            _call.reset(token)
        if body is None:
            return Lost(timeout=False, detail=f"a reply of more than {self._reply_cap} bytes")
        return Reply(response.status_code, response.headers, body)

    async def _read(self, response: httpx.Response) -> bytes | None:
        """Read the body; None as soon as it exceeds the cap."""
        chunks: list[bytes] = []
        size = 0
        assert isinstance(response.stream, AiohttpResponseStream)  # noqa: S101 -- for the type checker
        response.stream.CHUNK_SIZE = _READ_BUFFER  # its 16 KB would be 128 turns for a picture of 2 MB
        async for chunk in response.stream:
            size += len(chunk)
            if size > self._reply_cap:
                return None
            chunks.append(chunk)
        body = b"".join(chunks)
        if response.headers.get("content-encoding", "").lower() in ("gzip", "x-gzip"):
            return self._unzip(body)
        return body

    def _unzip(self, body: bytes) -> bytes | None:
        """Take what was compressed although it was not asked for; what is no gzip stays as it is."""
        unzip = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
        try:
            plain = unzip.decompress(body, self._reply_cap)
        except zlib.error:
            return body
        return None if unzip.unconsumed_tail else plain

    async def close(self) -> None:
        """Close every connection."""
        await self._transport.aclose()


def _trust() -> ssl.SSLContext:
    """Trust the public authorities and those of the machine (a company's own, or SSL_CERT_FILE)."""
    context = httpx.create_ssl_context(trust_env=False)
    context.load_default_certs()
    return context
