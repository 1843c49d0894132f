"""Fetching what upstream links to, against real servers on loopback that behave badly."""

import asyncio
import gzip
import re
import secrets
import traceback
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from ipaddress import ip_address

import pytest

from gateway.contract import Address
from gateway.guard import Guard
from gateway.images.fetch import Failure, Fetcher, FetchFailed, FetchLimits

QUICK = FetchLimits(bytes=1 << 20, seconds=10, waits=(0.0, 0.0))
Behaviour = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Server:
    """A server of one behaviour; `requests` holds the heads that it was sent, one an exchange."""

    port: int
    connections: int = 0
    requests: list[bytes] = field(default_factory=list)

    @property
    def authority(self) -> str:
        return f"127.0.0.1:{self.port}"


@asynccontextmanager
async def serving(behave: Behaviour) -> AsyncIterator[Server]:
    """Run a server on loopback."""

    handlers: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                server.requests.append(head)
                await behave(head, writer)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            return  # the client has gone
        finally:
            writer.close()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        handlers.add(asyncio.create_task(serve(reader, writer)))

    listener = await asyncio.start_server(accept, "127.0.0.1", 0)
    server = Server(listener.sockets[0].getsockname()[1])
    try:
        async with listener:
            yield server
    finally:
        for handler in handlers:
            handler.cancel()
        await asyncio.gather(*handlers, return_exceptions=True)


def answer(body: bytes, *headers: str, status: str = "200 OK") -> Behaviour:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]

    async def behave(_head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write("\r\n".join(lines).encode() + body)

    return behave


def endlessly(piece: bytes, pause: float = 0, head: str = "") -> Behaviour:
    async def behave(_head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 200 OK\r\n{head}\r\n".encode())
        while True:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(pause)

    return behave


@asynccontextmanager
async def fetching(guard: Guard, limits: FetchLimits = QUICK) -> AsyncIterator[Fetcher]:
    fetcher = Fetcher(guard, limits)
    try:
        yield fetcher
    finally:
        await fetcher.close()


def fetch_from(behave: Behaviour, limits: FetchLimits = QUICK, path: str = "/a.png") -> tuple[bytes, Server]:
    """Fetch from a server that is an exception of the guard."""

    async def story() -> tuple[bytes, Server]:
        async with serving(behave) as server, fetching(Guard([server.authority]), limits) as fetcher:
            return await fetcher.fetch(f"http://{server.authority}{path}"), server

    return asyncio.run(story())


def failure_of(behave: Behaviour, limits: FetchLimits = QUICK) -> tuple[Failure, int | None]:
    with pytest.raises(FetchFailed) as caught:
        fetch_from(behave, limits)
    return caught.value.reason, caught.value.status


def test_fetches_plainly() -> None:
    """The bytes come back; the request says which host, asks for no encoding, and carries no cookie or credential."""
    body, server = fetch_from(answer(b"image", "Set-Cookie: a=b"), path="/a%2Fb.png?sig=x%2By")
    assert body == b"image"
    head = server.requests[0].decode().lower()
    assert head.startswith("get /a%2fb.png?sig=x%2by http/1.1\r\n")
    assert f"host: {server.authority}\r\n" in head
    assert "accept-encoding: identity\r\n" in head
    assert not re.search(r"^(cookie|authorization|proxy-\w+|referer):", head, re.MULTILINE)


def test_reuses_connections_and_keeps_no_cookies() -> None:
    """Twenty fetches in a row share one connection, and a cookie that was set is not sent back."""

    async def story() -> None:
        async with (
            serving(answer(b"image", "Set-Cookie: a=b")) as server,
            fetching(Guard([server.authority])) as fetcher,
        ):
            for _ in range(20):
                assert await fetcher.fetch(f"http://{server.authority}/") == b"image"
            assert server.connections == 1
            assert not any(b"cookie" in head.lower() for head in server.requests)

    asyncio.run(story())


@pytest.mark.parametrize("status", ["301", "302", "303", "307", "308"])
def test_follows_redirects(status: str) -> None:
    """Three redirects are followed, relative ones too, as a GET; the fourth is not."""

    async def story() -> None:
        async def hop(head: bytes, writer: asyncio.StreamWriter) -> None:
            left = int(head.split(b" ")[1].rpartition(b"/")[2])
            again = answer(b"", f"Location: ./{left - 1}", status=f"{status} Moved")
            await (again if left else answer(b"image"))(head, writer)

        async with serving(hop) as server, fetching(Guard([server.authority])) as fetcher:
            assert await fetcher.fetch(f"http://{server.authority}/a/3") == b"image"
            assert [head.split(b" ")[0] for head in server.requests] == [b"GET"] * 4
            with pytest.raises(FetchFailed) as caught:
                await fetcher.fetch(f"http://{server.authority}/a/4")
            assert (caught.value.reason, caught.value.status) == (Failure.STATUS, int(status))

    asyncio.run(story())


def test_redirect_to_plain_http_is_refused() -> None:
    """A redirect from a listed host to an unlisted one over plain http is refused before it is connected to."""
    assert failure_of(answer(b"", "Location: http://1.1.1.1/", status="302 Found")) == (Failure.REFUSED, 302)


def test_redirect_to_no_url_is_refused() -> None:
    """A redirect that cannot be read is refused at once: it will not read otherwise a moment later."""
    assert failure_of(answer(b"", "Location: https://[::1/", status="302 Found")) == (Failure.REFUSED, 302)


def test_connects_to_the_approved_address() -> None:
    """A name is looked up once, its approved address is connected to, and both Host and SNI keep the name."""

    async def story() -> None:
        asked: list[str] = []
        hello = asyncio.Event()
        seen = b""

        async def resolve(host: str, _port: int) -> Sequence[Address]:
            asked.append(host)
            return [ip_address("127.0.0.1")]

        async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal seen
            seen = await reader.read(4096)
            hello.set()
            writer.close()

        listener = await asyncio.start_server(listen, "127.0.0.1", 0)
        port = listener.sockets[0].getsockname()[1]
        async with listener, fetching(Guard(["images.example"], resolve), replace(QUICK, waits=())) as fetcher:
            with pytest.raises(FetchFailed):
                await fetcher.fetch(f"https://images.example:{port}/a.png")
            await hello.wait()
            assert asked == ["images.example"]
            assert seen.startswith(b"\x16\x03")  # a TLS handshake
            assert b"images.example" in seen

    asyncio.run(story())


def test_stops_at_the_cap() -> None:
    """An endless body, one declared too long, and one a byte too long are cut; one that just fits is taken."""
    assert failure_of(endlessly(b"x" * 65536)) == (Failure.TOO_LARGE, 200)
    assert failure_of(endlessly(b"", 0.01, "Content-Length: 2000000\r\n")) == (Failure.TOO_LARGE, 200)
    assert failure_of(answer(b"x" * (QUICK.bytes + 1))) == (Failure.TOO_LARGE, 200)
    assert len(fetch_from(answer(b"x" * QUICK.bytes))[0]) == QUICK.bytes


def test_stops_at_the_deadline() -> None:
    """A byte now and then, headers without an end, and silence do not outlast the deadline."""
    limits = replace(QUICK, seconds=0.2)
    assert failure_of(endlessly(b"x", 0.01), limits) == (Failure.TIMEOUT, None)
    assert failure_of(endlessly(b"X-Header: y\r\n", 0.01, "X: y"), limits)[0] in {Failure.TIMEOUT, Failure.BROKEN}

    async def silent(_head: bytes, _writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    assert failure_of(silent, limits) == (Failure.TIMEOUT, None)


@pytest.mark.parametrize(
    ("encoding", "body"), [("gzip", gzip.compress(b"image", mtime=0)), ("deflate", zlib.compress(b"image"))]
)
def test_decodes_what_was_compressed_anyway(encoding: str, body: bytes) -> None:
    """An image that a server compresses unasked is still the image."""
    assert fetch_from(answer(body, f"Content-Encoding: {encoding}"))[0] == b"image"


def test_bombs_do_not_go_off() -> None:
    """A gzip body that unpacks beyond the cap is refused at the cap; a cut-off or unknown encoding is broken."""
    bomb = gzip.compress(bytes(200 << 20), 9)
    assert len(bomb) < QUICK.bytes
    assert failure_of(answer(bomb, "Content-Encoding: gzip")) == (Failure.TOO_LARGE, 200)
    assert failure_of(answer(bomb[:1000], "Content-Encoding: gzip")) == (Failure.BROKEN, 200)
    assert failure_of(answer(b"not gzip", "Content-Encoding: gzip")) == (Failure.BROKEN, 200)
    assert failure_of(answer(b"image", "Content-Encoding: br")) == (Failure.BROKEN, 200)


def test_memory_stays_near_the_cap() -> None:
    """Neither an endless body nor a gzip bomb takes much more memory than the largest image that is allowed."""
    limits = replace(QUICK, bytes=16 << 20)
    bomb = gzip.compress(bytes(100 << 20), 9)
    for behave in (endlessly(b"x" * 65536), answer(bomb, "Content-Encoding: gzip")):
        tracemalloc.start()
        try:
            assert failure_of(behave, limits) == (Failure.TOO_LARGE, 200)
            assert tracemalloc.get_traced_memory()[1] < 1.25 * limits.bytes + (6 << 20)
        finally:
            tracemalloc.stop()


@pytest.mark.parametrize("status", [403, 404, 410, 429, 500, 503])
def test_waits_for_a_link_that_does_not_work_yet(status: int) -> None:
    """A link that fails in a way that may pass is tried three times in all, and then its status is told."""

    async def story() -> None:
        tries = 0

        async def late(head: bytes, writer: asyncio.StreamWriter) -> None:
            nonlocal tries
            tries += 1
            await (answer(b"image") if tries % 4 == 3 else answer(b"", status=f"{status} Wait"))(head, writer)

        async with serving(late) as server, fetching(Guard([server.authority])) as fetcher:
            assert await fetcher.fetch(f"http://{server.authority}/") == b"image"
            assert tries == 3
        async with (
            serving(answer(b"", status=f"{status} No")) as server,
            fetching(Guard([server.authority])) as fetcher,
        ):
            with pytest.raises(FetchFailed) as caught:
                await fetcher.fetch(f"http://{server.authority}/")
            assert (caught.value.reason, caught.value.status) == (Failure.STATUS, status)
            assert len(server.requests) == 3

    asyncio.run(story())


@pytest.mark.parametrize("status", [201, 204, 206, 400, 401, 451])
def test_gives_up_at_once_on_a_final_status(status: int) -> None:
    """A status that will not change is told after one try."""

    async def story() -> None:
        async with (
            serving(answer(b"", status=f"{status} No")) as server,
            fetching(Guard([server.authority])) as fetcher,
        ):
            with pytest.raises(FetchFailed) as caught:
                await fetcher.fetch(f"http://{server.authority}/")
            assert (caught.value.reason, caught.value.status) == (Failure.STATUS, status)
            assert len(server.requests) == 1

    asyncio.run(story())


def test_tells_a_broken_answer() -> None:
    """A body cut off, garbage instead of HTTP, a redirect to nowhere, and nobody listening are told as broken."""

    async def cut(_head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
        await writer.drain()
        writer.close()

    async def garbage(_head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 smtp.example ESMTP\r\n")
        writer.close()

    assert failure_of(cut) == (Failure.BROKEN, 200)
    assert failure_of(garbage)[0] is Failure.BROKEN
    assert failure_of(answer(b"", status="302 Found"))[0] is Failure.STATUS

    async def nobody() -> None:
        async with fetching(Guard(["127.0.0.1:1"])) as fetcher:
            with pytest.raises(FetchFailed) as caught:
                await fetcher.fetch("http://127.0.0.1:1/")
            assert caught.value.reason is Failure.BROKEN

    asyncio.run(nobody())


def test_says_nothing_of_the_url() -> None:
    """A failure, printed with all that led to it, does not show the link."""
    secret = secrets.token_hex(8)
    for behave in (
        answer(b"", "Content-Encoding: br"),
        answer(b"", status="404 No"),
        answer(b"x", "Content-Length: 9"),
    ):
        with pytest.raises(FetchFailed) as caught:
            fetch_from(behave, path=f"/{secret}.png?sig={secret}")
        assert secret not in "".join(traceback.format_exception(caught.value))
