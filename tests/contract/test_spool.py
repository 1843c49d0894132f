"""The spool: what a store does not take is kept on disk, stored once it does, by whichever process, and never twice."""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from gateway.database.engine import Database, sqlite_url
from gateway.flow.spool_watch import SpoolWatch
from gateway.images import spooled
from gateway.images.local import LocalImage, LocalStore
from gateway.images.spool import Spool
from gateway.images.spooled import EXPECTED_BYTES, SpooledStore
from gateway.images.store import Store, StoreUnavailable, Trouble, image_name
from gateway.ledger import erasure
from gateway.ledger.journal import JournaledImage
from gateway.ledger.ledger import Ledger
from gateway.ledger.records import Reservation
from gateway.metrics import Metrics
from tests.books import MOMENT, add_tenant, open_ledger, opened, reservation, settlement

ROOM = 64 << 20


class Behind(LocalStore):
    """A store that may be away, hold on to what it is given, or refuse one image."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.away = False
        self.refuses: str | None = None
        self.alters = False
        self.puts: list[str] = []
        self.began, self.goes_on = asyncio.Event(), asyncio.Event()
        self.goes_on.set()

    async def put(self, name: str, image: bytes) -> None:
        self._answer(name)
        self.puts.append(name)
        self.began.set()
        await self.goes_on.wait()
        await super().put(name, image[:-1] if self.alters else image)

    async def open(self, name: str) -> LocalImage | None:
        self._answer()
        return await super().open(name)

    async def check(self) -> None:
        self._answer()

    def _answer(self, name: str | None = None) -> None:
        if self.away or (name is not None and name == self.refuses):
            raise StoreUnavailable(Trouble.UNREACHABLE, "a test says so")


@dataclass
class Host:
    """One directory for the spool and the store behind it, and processes that share them."""

    directory: Path
    behind: Behind
    database: Database
    ledger: Ledger

    def process(self, room: int = ROOM) -> tuple[SpooledStore, SpoolWatch]:
        """Begin another process."""
        spool = Spool(self.directory / "spool", room, Metrics(CollectorRegistry()))
        store = SpooledStore(self.behind, spool, processes=1)
        return store, SpoolWatch(store, self.ledger)

    def spooled(self) -> list[str]:
        """Return the files in the spool."""
        return sorted(path.name for path in (self.directory / "spool").rglob("*") if path.is_file())

    async def remember(self, name: str, image: bytes) -> Reservation:
        """Tell the ledger of a generation that gave this image."""
        asked = reservation(await self.database.write(add_tenant))
        record = JournaledImage(name, "image/png", len(image), 1, 1, hashlib.sha256(image).hexdigest())
        await self.ledger.reserve(asked)
        await self.ledger.settle(replace(settlement(asked), images=[record]))
        return asked

    async def stored(self, name: str) -> bytes | None:
        """Return what the store behind has."""
        image = await LocalStore.open(self.behind, name)
        return None if image is None else b"".join([piece async for piece in image.read()])


@asynccontextmanager
async def host(directory: Path) -> AsyncIterator[Host]:
    """Run a host until the block ends, with an empty ledger."""
    async with opened(sqlite_url(directory / "books.db")) as database:
        ledger = open_ledger(database, directory / "journal")
        (directory / "store").mkdir()
        yield Host(directory, Behind(directory / "store"), database, ledger)


def on_a_host(directory: Path, story: Callable[[Host], Awaitable[None]]) -> None:
    """Tell a story of a host."""

    async def whole() -> None:
        async with host(directory) as one:
            await story(one)

    asyncio.run(whole())


async def content(store: Store, name: str) -> bytes | None:
    image = await store.open(name)
    return None if image is None else b"".join([piece async for piece in image.read()])


def images(number: int, size: int = 3000) -> dict[str, bytes]:
    return {image_name("image/png"): os.urandom(size) for _ in range(number)}


async def spool_all(host: Host, store: SpooledStore, given: dict[str, bytes]) -> None:
    """Keep images while the store is away, and let it come back."""
    host.behind.away = True
    await asyncio.gather(*(store.put(name, image) for name, image in given.items()))
    assert host.spooled() == sorted(given)
    host.behind.away = False


def test_what_waits_is_found_and_then_stored(tmp_path: Path) -> None:
    """While its store is away an image is read from the spool, by other processes too; then from the store alone."""

    async def story(host: Host) -> None:
        store, watch = host.process()
        other, _ = host.process()
        given = images(9)
        await spool_all(host, store, given)
        host.behind.away = True
        for name, image in given.items():
            assert store.pending(name)
            assert await content(store, name) == await content(other, name) == image
        assert not await watch.look()
        host.behind.away = False
        assert await watch.look()
        assert host.spooled() == []
        for name, image in given.items():
            assert not store.pending(name)
            assert await content(store, name) == await content(other, name) == await host.stored(name) == image
        assert (store.spool.size, store.trouble) == (0, None)

    on_a_host(tmp_path, story)


def test_a_later_process_stores_what_an_earlier_one_left(tmp_path: Path) -> None:
    """What is in the spool when a process dies is stored by the next one that looks."""

    async def story(host: Host) -> None:
        given = images(5)
        await spool_all(host, host.process()[0], given)
        assert await host.process()[1].look()
        assert host.spooled() == []
        assert [await host.stored(name) for name in given] == list(given.values())

    on_a_host(tmp_path, story)


def test_processes_of_one_host_share_the_work(tmp_path: Path) -> None:
    """Four processes that look at once store each image once."""

    async def story(host: Host) -> None:
        store, _ = host.process()
        given = images(40)
        await spool_all(host, store, given)
        assert all(await asyncio.gather(*(host.process()[1].look() for _ in range(4))))
        assert host.spooled() == []
        assert sorted(host.behind.puts) == sorted(given)

    on_a_host(tmp_path, story)


def test_what_is_erased_is_not_stored_afterwards(tmp_path: Path) -> None:
    """Erasing waits for whoever is storing the image at that moment; then it is in neither place, and stays away."""

    async def story(host: Host) -> None:
        store, watch = host.process()
        other, _ = host.process()
        given = images(2)
        first, second = given
        await spool_all(host, store, given)
        await other.delete(first)
        host.behind.goes_on.clear()
        storing = asyncio.create_task(watch.look())
        await host.behind.began.wait()
        erasing = asyncio.create_task(other.delete(second))
        for _ in range(20):
            await asyncio.sleep(0.01)
            assert not erasing.done()
        host.behind.goes_on.set()
        await asyncio.gather(storing, erasing)
        await watch.look()
        assert host.spooled() == []
        assert host.behind.puts == [second]
        assert [await content(store, name) for name in given] == [None, None]

    on_a_host(tmp_path, story)


def test_a_slow_store_does_not_hold_the_caller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A put that takes too long goes to the spool, and the next ones go there at once."""
    monkeypatch.setattr(spooled, "PATIENCE_SECONDS", 0.2)

    async def story(host: Host) -> None:
        store, watch = host.process()
        host.behind.goes_on.clear()
        given = images(3)
        async with asyncio.timeout(5):
            for name, image in given.items():
                await store.put(name, image)
        assert store.trouble is Trouble.UNREACHABLE
        assert len(host.behind.puts) == 1
        assert host.spooled() == sorted(given)
        host.behind.goes_on.set()
        assert await watch.look()
        assert [await host.stored(name) for name in given] == list(given.values())

    on_a_host(tmp_path, story)


def test_the_spool_is_bounded(tmp_path: Path) -> None:
    """Many that come at once take no more room than there is; the rest are refused, and kept if the store is back."""

    async def story(host: Host) -> None:
        store, _ = host.process(room=100_000)
        host.behind.away = True
        results = await asyncio.gather(
            *(store.put(name, image) for name, image in images(50, 5000).items()), return_exceptions=True
        )
        refused = [one for one in results if one is not None]
        assert all(isinstance(one, StoreUnavailable) for one in refused)
        assert (len(host.spooled()), len(refused), store.spool.size) == (20, 30, 100_000)
        assert not store.spool.failing, "it is full, not broken"
        host.behind.away = False
        name = image_name("image/png")
        await store.put(name, b"image")
        assert (await host.stored(name), store.trouble) == (b"image", None)

    on_a_host(tmp_path, story)


def test_room_is_kept_for_what_runs(tmp_path: Path) -> None:
    """With the store away a generation may begin while the images of all that run would fit; else it may always."""

    async def story(host: Host) -> None:
        store, _ = host.process(room=10 * EXPECTED_BYTES)
        assert store.has_room(1000)
        await spool_all(host, store, images(1, EXPECTED_BYTES))
        assert store.has_room(8)
        assert not store.has_room(9)

    on_a_host(tmp_path, story)


def test_one_that_cannot_be_stored_holds_up_no_other(tmp_path: Path) -> None:
    """An image that the store refuses waits; the others are stored, and it is too once that is over."""

    async def story(host: Host) -> None:
        store, watch = host.process()
        given = images(12)
        await spool_all(host, store, given)
        host.behind.refuses = min(given)
        for _ in range(2):
            assert not await watch.look()
        assert host.spooled() == [host.behind.refuses]
        assert store.trouble is None
        host.behind.refuses = None
        assert await watch.look()
        assert host.spooled() == []

    on_a_host(tmp_path, story)


def test_an_image_leaves_the_spool_only_when_the_store_has_it(tmp_path: Path) -> None:
    """What a store acknowledged, but gives back otherwise, stays in the spool and is put again."""

    async def story(host: Host) -> None:
        store, watch = host.process()
        given = images(1)
        await spool_all(host, store, given)
        host.behind.alters = True
        assert not await watch.look()
        assert host.spooled() == list(given)
        host.behind.alters = False
        assert await watch.look()
        assert host.spooled() == []
        assert [await host.stored(name) for name in given] == list(given.values())

    on_a_host(tmp_path, story)


def test_a_damaged_image_is_not_stored(tmp_path: Path) -> None:
    """Bytes in the spool that are no longer what the ledger says were kept stay there, for a person to look at."""

    async def story(host: Host) -> None:
        store, watch = host.process()
        ((name, image),) = given = list(images(1).items())
        await host.remember(name, os.urandom(len(image)))
        await spool_all(host, store, dict(given))
        assert await watch.look()
        assert host.spooled() == [name]
        assert await host.stored(name) is None

    on_a_host(tmp_path, story)


@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_what_another_host_erased_is_not_stored_afterwards(tmp_path: Path, when: str) -> None:
    """Erased by a host that has not this spool, before or while the image is stored, it ends in neither place."""

    async def story(host: Host) -> None:
        store, watch = host.process()
        ((name, image),) = given = list(images(1).items())
        asked = await host.remember(name, image)
        await spool_all(host, store, dict(given))
        if when == "before":
            # As if a process had put it, and died before it could look again.
            await LocalStore.put(host.behind, name, image)
        else:
            host.behind.goes_on.clear()
        storing = asyncio.create_task(watch.look()) if when == "meanwhile" else None
        if storing is not None:
            await host.behind.began.wait()
        changed = await host.database.write(lambda sql: erasure.ask(sql, asked.tenant_id, [asked.id], MOMENT))
        assert changed == 1
        host.behind.goes_on.set()
        await (watch.look() if storing is None else storing)
        assert host.spooled() == []
        assert await host.stored(name) is None
        assert await content(store, name) is None

    on_a_host(tmp_path, story)


def test_reading_goes_on_where_the_image_has_gone(tmp_path: Path) -> None:
    """Who reads an image from the spool while it is stored gets the rest of it from the store."""

    async def story(host: Host) -> None:
        store, watch = host.process()
        (name, image), *_ = given = list(images(1, 3 << 20).items())
        await spool_all(host, store, dict(given))
        found = await store.open(name)
        assert found is not None
        reader = found.read(start=5)
        pieces = [await anext(reader)]
        assert await watch.look()
        assert host.spooled() == []
        pieces += [piece async for piece in reader]
        assert b"".join(pieces) == image[5:]

    on_a_host(tmp_path, story)
