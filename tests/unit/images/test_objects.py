"""The bucket store against a server that misbehaves."""

import asyncio
from collections.abc import Callable
from time import monotonic

import pytest

from gateway.images import objects
from gateway.images.store import Store, StoreUnavailable, Trouble, image_name
from gateway.images.stores import open_store


def answer(status: str) -> bytes:
    return f'HTTP/1.1 {status}\r\nContent-Length: 0\r\nETag: "x"\r\n\r\n'.encode()


async def put_against(answers: Callable[[int], bytes | None]) -> int:
    """Put an image into a bucket of a server that answers its n-th request so, or never; return how many it got."""
    requests = 0
    over = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal requests
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                await reader.readexactly(5)
                requests += 1
                said = answers(requests)
                if said is None:
                    await over.wait()
                    return
                writer.write(said)
        except asyncio.IncompleteReadError:
            return
        finally:
            writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    endpoint = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    credential = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_REGION": "c"}
    store: Store = open_store("s3://bucket", {"AWS_ENDPOINT_URL": endpoint, **credential})
    async with listener:
        try:
            await store.put(image_name("image/png"), b"image")
        finally:
            over.set()
            await store.close()
    return requests


def test_tries_three_times() -> None:
    """Two failures that may pass are not the caller's concern; the third is told."""
    assert asyncio.run(put_against(lambda n: answer("503 Slow Down" if n < 3 else "200 OK"))) == 3
    requests: list[int] = []

    def failing(n: int) -> bytes:
        requests.append(n)
        return answer("503 Slow Down")

    with pytest.raises(StoreUnavailable) as caught:
        asyncio.run(put_against(failing))
    assert caught.value.trouble is Trouble.UNREACHABLE
    assert len(requests) == 3


def test_a_refusal_is_told_at_once() -> None:
    """What the server refuses for good is not tried again."""
    requests: list[int] = []

    def refusing(n: int) -> bytes:
        requests.append(n)
        return answer("400 Bad Request")

    with pytest.raises(StoreUnavailable) as caught:
        asyncio.run(put_against(refusing))
    assert caught.value.trouble is Trouble.REFUSED
    assert len(requests) == 1


def test_silence_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that takes the image and never answers is given up at the deadline."""
    monkeypatch.setattr(objects, "_SECONDS", 0.2)
    began = monotonic()
    with pytest.raises(StoreUnavailable, match="no answer") as caught:
        asyncio.run(put_against(lambda _: None))
    assert caught.value.trouble is Trouble.UNREACHABLE
    assert monotonic() - began < 5
