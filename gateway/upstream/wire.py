"""One POST upstream and what came of it, as facts: a whole reply, never connected, or lost on the way.

The only module of this package that knows the HTTP library, aiohttp.

Whether a failed call was sent is decided by a fact, not by the kind of exception: the connector marks the call when it
hands over a connection. aiohttp sends nothing again by itself unless the method is idempotent, which POST is not.
"""

import asyncio
import contextlib
import select
import ssl
import time
import zlib
from collections.abc import AsyncIterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field

import aiohttp
import certifi
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from gateway.aside import aside
from gateway.inflate import inflate
from gateway.pieces import Pieces
from gateway.upstream.answer import Lost, NotConnected

_IDLE_SECONDS = 4.0
"""Below the 5 seconds after which common servers close: a call on a connection just closed is lost, not sent again."""

_DEAD_MAX = 16
"""As many closed connections are dropped by one call before it gives up."""

_HANG_UP = getattr(select, "POLLRDHUP", select.POLLHUP)  # where there is no RDHUP, only a full close is seen
_SLICE = 256 * 1024
_READ_BUFFER = 120 * 1024
"""aiohttp pauses a connection with more than twice as much unread, which is after one read: the event loop reads up to
256,000 bytes at once. So dozens of large replies that come together hold it up for milliseconds, not for fifty."""
_FAILURES = (aiohttp.ClientError, OSError)  # OSError includes TimeoutError


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole HTTP reply; `headers` finds names in any case."""

    status: int
    headers: Mapping[str, str]
    body: Pieces = field(repr=False)


@dataclass(frozen=True, slots=True)
class Body:
    """A JSON body, in parts so that large images are not copied together."""

    parts: tuple[bytes, ...] = field(repr=False)

    def __len__(self) -> int:
        return sum(map(len, self.parts))


class Credential:
    """What the calls with one key have in common. Holds the key; its repr does not show it."""

    __slots__ = ("headers",)

    def __init__(self, key: str) -> None:
        self.headers = CIMultiDictProxy(
            CIMultiDict(
                {
                    "Authorization": f"Bearer {key}",
                    "Content-Type": "application/json",
                    "Accept": "application/json",
                    "Accept-Encoding": "identity",  # Base64 hardly shrinks, and a small reply could unfold
                    "User-Agent": "image-gateway",
                }
            )
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


async def _sliced(body: Body) -> AsyncIterator[bytes]:
    """Give a large body piece by piece, so that writing one upload does not hold the event loop."""
    for part in body.parts:
        for start in range(0, len(part), _SLICE):
            yield part[start : start + _SLICE]


class Wire:
    """The connections to one URL. Many calls at once share them; no cookie, redirect, proxy or .netrc is used."""

    def __init__(self, url: str, connect_timeout: float, reply_cap: int) -> None:
        """Prepare; the first call opens the first connection. `connect_timeout` covers DNS, TCP and TLS."""
        self._url = URL(url)
        # The whole of a call is bounded by its deadline; aiohttp's own limit of five minutes is not wanted.
        self._timeout = aiohttp.ClientTimeout(total=None, connect=connect_timeout, sock_connect=connect_timeout)
        self._reply_cap = reply_cap
        self._ssl = _trust() if self._url.scheme == "https" else True
        self._session: aiohttp.ClientSession | None = None

    async def post(self, credential: Credential, body: Body, deadline: float) -> Reply | NotConnected | Lost:
        """Send `body` once and read the whole reply, until `deadline` (`time.monotonic`)."""
        if len(body) <= _SLICE:
            return await self._exchange("POST", self._url, deadline, credential.headers, b"".join(body.parts))
        sized = CIMultiDict(credential.headers)
        sized["Content-Length"] = str(len(body))
        return await self._exchange("POST", self._url, deadline, sized, _sliced(body))

    async def get_root(self, deadline: float) -> Reply | NotConnected | Lost:
        """Ask the host for `/`, without a key: any reply shows that it can be reached."""
        return await self._exchange("GET", self._url.join(URL("/")), deadline)

    async def _exchange(
        self,
        method: str,
        url: URL,
        deadline: float,
        headers: Mapping[str, str] | None = None,
        body: bytes | AsyncIterator[bytes] | None = None,
    ) -> Reply | NotConnected | Lost:
        call = _Call()
        token = _call.set(call)
        try:
            async with (
                asyncio.timeout(deadline - time.monotonic()),
                self._opened().request(method, url, headers=headers, data=body, allow_redirects=False) as response,
            ):
                content = await self._read(response)
        except _FAILURES as failure:
            # Only the name: the text and the request inside some of these exceptions may hold the key.
            timeout = isinstance(failure, TimeoutError)
            if not call.connected:
                return NotConnected(timeout)
            return Lost(timeout, type(failure).__name__)
        finally:
            _call.reset(token)
        if content is None:
            return Lost(timeout=False, detail=f"a reply of more than {self._reply_cap} bytes")
        return Reply(response.status, response.headers, content)

    async def _read(self, response: aiohttp.ClientResponse) -> Pieces | None:
        """Read the body; None as soon as it exceeds the cap."""
        read = Pieces()
        while piece := await response.content.readany():
            read.add(piece)
            if read.size > self._reply_cap:
                response.close()
                return None
        if response.headers.get("Content-Encoding", "").lower() in ("gzip", "x-gzip"):
            # Compressed although it was not asked for; what is no gzip stays as it is.
            with contextlib.suppress(zlib.error, EOFError):
                plain = await aside(lambda: inflate(read.together(), self._reply_cap))
                if plain is None:
                    return None
                unpacked = Pieces()
                unpacked.add(plain)
                return unpacked
        return read

    async def close(self) -> None:
        """Close every connection."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            # No limit: thousands of calls wait for seconds each, and how many is decided elsewhere.
            self._session = aiohttp.ClientSession(
                connector=_Connector(limit=0, keepalive_timeout=_IDLE_SECONDS, ssl=self._ssl, ttl_dns_cache=30),
                timeout=self._timeout,
                cookie_jar=aiohttp.DummyCookieJar(),
                read_bufsize=_READ_BUFFER,
                auto_decompress=False,
                trust_env=False,
            )
        return self._session


def _trust() -> ssl.SSLContext:
    """Trust the public authorities and those of the machine (a company's own, or SSL_CERT_FILE)."""
    context = ssl.create_default_context(cafile=certifi.where())
    context.load_default_certs()
    return context
