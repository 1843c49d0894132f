"""From links to kept images: a few at a time, each judged by its bytes, those that are none counted beside the rest."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from prometheus_client import CollectorRegistry

from gateway.flow.keep import AT_ONCE, Keeper, Kept
from gateway.flow.reply import KeptImage
from gateway.guard import Guard
from gateway.images.fetch import Fetcher, FetchLimits
from gateway.images.local import LocalStore
from gateway.images.spool import Spool
from gateway.images.spooled import SpooledStore
from gateway.metrics import Metrics
from gateway.spans import no_span
from gateway.upstream.envelope import ReturnedImage
from tests.unit.images.pictures import picture

GOOD = {f"/{number}.png": picture("PNG", width=number + 1) for number in range(12)}


class Host:
    """An image host that counts how many requests it is answering, and lets each wait for company."""

    def __init__(self, pages: Mapping[str, bytes]) -> None:
        self._pages = pages
        self._open = 0
        self.most = 0
        self.authority = ""

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["Host"]:
        """Serve until the block ends."""
        listener = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.authority = f"127.0.0.1:{listener.sockets[0].getsockname()[1]}"
        async with listener:
            yield self

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                self._open += 1
                self.most = max(self.most, self._open)
                for _ in range(20):  # more than AT_ONCE would be here by the end of it
                    await asyncio.sleep(0.002)
                page = self._pages.get(head.split()[1].decode())
                status = "404 Not Found" if page is None else "200 OK"
                body = b"" if page is None else page
                writer.write(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
                await writer.drain()
                self._open -= 1
        except asyncio.IncompleteReadError:
            return
        finally:
            writer.close()


def keep(directory: Path, pages: Mapping[str, bytes], paths: list[str]) -> tuple[Kept, int, Metrics]:
    """Keep what these paths of a host lead to; return what came of it, and how many it answered at once."""

    async def story() -> tuple[Kept, int, Metrics]:
        metrics = Metrics(CollectorRegistry())
        store = SpooledStore(LocalStore(directory / "store"), Spool(directory / "spool", 1 << 30, metrics), processes=1)
        async with Host(pages).serving() as host:
            fetcher = Fetcher(Guard([host.authority]), FetchLimits(waits=(0.0, 0.0)))
            try:
                links = [ReturnedImage("url", f"http://{host.authority}{path}", None, None) for path in paths]
                kept = await Keeper(store, fetcher, metrics, no_span).keep(links, "gen_1")
            finally:
                await fetcher.close()
        for image in kept.images:
            assert isinstance(image, KeptImage)
            found = await store.open(image.name)
            assert found is not None
            content = b"".join([piece async for piece in found.read()])
            assert (hashlib.sha256(content).hexdigest(), len(content)) == (image.sha256, image.size)
        return kept, host.most, metrics

    return asyncio.run(story())


def test_a_few_are_kept_at_a_time(tmp_path: Path) -> None:
    """Twelve images are fetched and kept four at once, in their order, each with the size and digest of its bytes."""
    kept, most, _ = keep(tmp_path, GOOD, list(GOOD))
    assert most == AT_ONCE == 4
    assert kept.failed == 0
    assert [image.width for image in kept.images if isinstance(image, KeptImage)] == list(range(1, 13))


def test_what_is_no_image_is_counted_beside_the_rest(tmp_path: Path) -> None:
    """Of a page, a cut off picture, a dead link and two images the two are kept; the rest failed, each by its cause."""
    whole = picture("PNG", 64, 64)
    pages = GOOD | {"/page.png": b"<html><body>no image</body></html>", "/cut.png": whole[: len(whole) // 2]}
    kept, _, metrics = keep(tmp_path, pages, ["/page.png", "/1.png", "/cut.png", "/dead.png", "/2.png"])
    assert [image.width for image in kept.images if isinstance(image, KeptImage)] == [2, 3]
    assert kept.failed == 3
    failures = {
        cause: metrics.registry.get_sample_value("gateway_keep_failures_total", {"cause": cause})
        for cause in ("fetch", "image", "store")
    }
    assert failures["fetch"] == 1
    assert failures["image"] == 2
    assert not failures["store"]
