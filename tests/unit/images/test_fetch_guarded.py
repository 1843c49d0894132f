"""Fetching never reaches what the guard refuses: by a link, by a redirect, or by a name that changes its mind."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from ipaddress import ip_address

import pytest

import gateway.guard
from gateway.contract import Address
from gateway.guard import Guard
from gateway.images.fetch import Failure, FetchFailed
from tests.unit.images.test_fetch import answer, fetching, serving
from tests.unit.test_guard import MALFORMED, PRIVATE


def hostile(port: int) -> list[str]:
    """URLs that must not be connected to; a listener on this port of loopback counts who did."""
    hosts = ["localhost", "localhost.", "LOCALHOST", *(f"[{a}]" if ":" in a else a for a in PRIVATE if "%" not in a)]
    literals = [f"{scheme}://{host}:{port}/" for scheme in ("http", "https") for host in hosts]
    tricks = [
        url.replace("127.0.0.1", f"127.0.0.1:{port}", 1)
        for url in (*MALFORMED, "https://example.com:443@127.0.0.1/", "http://127.0.0.1#@example.com/..@")
    ]
    names = [f"{scheme}://rebound.example:{port}/" for scheme in ("http", "https")]
    return literals + tricks + names


async def leads_to_loopback(_host: str, _port: int) -> Sequence[Address]:
    return [ip_address("127.0.0.1")]


def test_hostile_urls_reach_nobody() -> None:
    """Not one of 160 hostile URLs leads to a connection."""

    async def story() -> None:
        async with serving(answer(b"secret")) as server, fetching(Guard([], leads_to_loopback)) as fetcher:
            urls = hostile(server.port)
            assert len(urls) >= 160
            for url in urls:
                with pytest.raises(FetchFailed) as caught:
                    await fetcher.fetch(url)
                assert caught.value.reason is Failure.REFUSED, url
            assert server.connections == 0

    asyncio.run(story())


def test_redirects_to_hostile_urls_reach_nobody() -> None:
    """Not one redirect to a hostile URL is followed; those that are but odd paths stay where they are."""

    async def story() -> None:
        location = ""

        async def redirect(_head: bytes, writer: asyncio.StreamWriter) -> None:
            headers = f"HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n"
            writer.write(headers.encode(errors="surrogateescape"))

        async with serving(answer(b"secret")) as secret, serving(redirect) as server:
            async with fetching(Guard([server.authority], leads_to_loopback)) as fetcher:
                for url in hostile(secret.port):
                    location = url
                    with pytest.raises(FetchFailed):
                        await fetcher.fetch(f"http://{server.authority}/start")
            assert secret.connections == 0
            assert len(server.requests) >= 160

    asyncio.run(story())


def test_a_rebinding_name_reaches_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that is public when it is asked first and private from then on: 0 of 1,000 fetches reach the latter."""
    public = ip_address("127.0.0.2")  # which is taken for public here, and breaks every connection
    monkeypatch.setattr(gateway.guard, "is_public", lambda address: address == public)
    asked: Counter[str] = Counter()

    async def rebinding(host: str, _port: int) -> Sequence[Address]:
        asked[host] += 1
        return [public if asked[host] == 1 else ip_address("127.0.0.1")]

    async def hang_up(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async def story() -> int:
        async with serving(answer(b"secret")) as secret:
            decoy = await asyncio.start_server(hang_up, str(public), secret.port)
            async with decoy, fetching(Guard([], rebinding)) as fetcher:
                for number in range(1000):
                    with pytest.raises(FetchFailed) as caught:
                        await fetcher.fetch(f"https://rebind-{number}.example:{secret.port}/")
                    assert caught.value.reason is Failure.REFUSED
            return secret.connections

    assert asyncio.run(story()) == 0
    assert set(asked.values()) == {2}  # it was connected to what the first answer said, and then asked again
