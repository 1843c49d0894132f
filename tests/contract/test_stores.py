"""One behaviour, three stores: a local directory, a bucket of a real S3, and a store with a spool behind it."""

import asyncio
import hashlib
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from urllib.parse import quote

import obstore
import pytest
from obstore.store import S3Store
from prometheus_client import CollectorRegistry

from gateway.images.objects import ObjectStore
from gateway.images.spool import Spool
from gateway.images.spooled import SpooledStore
from gateway.images.store import Store, StoredImage, StoreUnavailable, Trouble, image_name
from gateway.images.stores import open_store
from gateway.metrics import Metrics
from tests.servers.gateway import describe
from tests.servers.process import wait_until
from tests.servers.seaweedfs import S3Server

TRAVERSALS = [
    f"{up}{sep}{target}{tail}"
    for up in ("..", "../..", "../../../../../..", "%2e%2e", "..%2f..", "....//", "")
    for sep in ("/", "\\", "%2f", "\x00", "//")
    for target in ("etc/passwd", "secret.png", "01jd2zzzzzzzzzzzzzzzzzzzzz.png")
    for tail in ("", "\x00.png", "/../x.png")
]


@pytest.fixture(params=["directory", "bucket", "with a spool"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """Give an empty store of each kind."""
    if request.param == "directory":
        return open_store((tmp_path / "images").as_uri(), {})
    if request.param == "with a spool":
        spool = Spool(tmp_path / "spool", 1 << 30, Metrics(CollectorRegistry()))
        return SpooledStore(open_store((tmp_path / "images").as_uri(), {}), spool, processes=1)
    server: S3Server = request.getfixturevalue("s3")
    return open_store(f"s3://{server.bucket}/{quote(tmp_path.name)}", server.environ)


def use(store: Store, story: Callable[[Store], Awaitable[None]]) -> None:
    """Run a story on a store, and close it."""

    async def whole() -> None:
        try:
            await story(store)
        finally:
            await store.close()

    asyncio.run(whole())


async def opened(store: Store, name: str) -> StoredImage:
    image = await store.open(name)
    assert image is not None
    return image


async def content(image: StoredImage, start: int = 0, end: int | None = None) -> bytes:
    return b"".join([piece async for piece in image.read(start, end)])


def everything(directory: Path) -> list[Path]:
    return sorted(directory.rglob("*"))


def test_gives_back_what_it_was_given(store: Store) -> None:
    """An image comes back byte for byte, with its size, the type of its name, and a quoted ETag."""

    async def story(store: Store) -> None:
        name, image = image_name("image/webp"), os.urandom(5000)
        await store.put(name, image)
        found = await opened(store, name)
        assert (found.size, found.name.media_type, found.name.etag) == (5000, "image/webp", f'"{name}"')
        assert await content(found) == image

    use(store, story)


@pytest.mark.parametrize("size", [1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 33 << 20])
def test_takes_every_size(store: Store, size: int) -> None:
    """Images of one byte, around a piece, and too large for a single request come back whole, in pieces of 1 MiB."""

    async def story(store: Store) -> None:
        name, image = image_name("image/png"), os.urandom(1 << 10) * (size // 1024 + 1)
        await store.put(name, image[:size])
        found = await opened(store, name)
        assert found.size == size
        digest = hashlib.sha256()
        async for piece in found.read():
            assert 0 < len(piece) <= 1 << 20
            digest.update(piece)
        assert digest.digest() == hashlib.sha256(image[:size]).digest()

    use(store, story)


def test_reads_ranges(store: Store) -> None:
    """A range is given exactly, whether at the start, in the middle, over pieces, at the end, or empty."""

    async def story(store: Store) -> None:
        name, image = image_name("image/jpeg"), os.urandom(1 << 10) * 3000
        await store.put(name, image)
        found = await opened(store, name)
        size = len(image)
        for start, end in [
            (0, 1),
            (7, 100),
            (5, 2_500_000),
            (1 << 20, 2 << 20),
            (size - 1, size),
            (9, 9),
            (size, size),
        ]:
            assert await content(found, start, end) == image[start:end]
        assert await content(found, size - 3) == image[-3:]

    use(store, story)


def test_repeating_a_put_changes_nothing(store: Store) -> None:
    """The same image put again, twenty times at once, is there once and whole."""

    async def story(store: Store) -> None:
        name, image = image_name("image/png"), os.urandom(100_000)
        await asyncio.gather(*(store.put(name, image) for _ in range(20)))
        assert await content(await opened(store, name)) == image

    use(store, story)


def test_forgets(store: Store) -> None:
    """A deleted image is gone for who opens it and for who had opened it; deleting it again is no error."""

    async def story(store: Store) -> None:
        name = image_name("image/png")
        await store.put(name, b"image")
        found = await opened(store, name)
        await store.delete(name)
        await store.delete(name)
        assert await store.open(name) is None
        with pytest.raises(StoreUnavailable):
            await content(found)

    use(store, story)


def test_knows_nothing_before_the_first_image(store: Store) -> None:
    """An image that was never kept is not found, even in a store that has never been written to; nor is it erased."""

    async def story(store: Store) -> None:
        assert await store.open(image_name("image/png")) is None
        await store.check()
        await store.delete(image_name("image/png"))

    use(store, story)


def test_checks_itself(store: Store) -> None:
    """A store that works says so, again and again, and the check leaves no image behind."""

    async def story(store: Store) -> None:
        await store.check()
        await store.check()

    use(store, story)


def test_names_are_no_paths(store: Store, tmp_path: Path) -> None:
    """Not one of 300 traversal strings finds, writes or removes anything."""
    assert len(TRAVERSALS) >= 300
    secret = tmp_path / "secret.png"
    secret.write_bytes(b"secret")

    async def story(store: Store) -> None:
        await store.put(image_name("image/png"), b"image")
        before = everything(tmp_path)
        for text in TRAVERSALS:
            assert await store.open(text) is None
            await store.delete(text)
            with pytest.raises(ValueError, match="not the name"):
                await store.put(text, b"escaped")
        assert everything(tmp_path) == before
        assert secret.read_bytes() == b"secret"

    use(store, story)


def test_object_carries_its_headers(s3: S3Server) -> None:
    """An object in a bucket has the type and caching that a CDN in front of it would serve."""

    async def story(store: Store) -> None:
        assert isinstance(store, ObjectStore)
        name = image_name("image/webp")
        await store.put(name, b"image")
        raw = await obstore.get_async(store._bucket, name)
        assert raw.attributes["Content-Type"] == "image/webp"
        assert raw.attributes["Cache-Control"] == "public, max-age=31536000, immutable"
        await raw.bytes_async()

    use(open_store(f"s3://{s3.bucket}/headers", s3.environ), story)


def test_prefix_stays_within_the_bucket(s3: S3Server) -> None:
    """Images are kept under the prefix of the URL, and nowhere else."""

    async def story(store: Store) -> None:
        name = image_name("image/png")
        await store.put(name, b"image")
        bucket = S3Store(s3.bucket, config=s3.environ, client_options={"allow_http": True})  # type: ignore[arg-type]  # -- a TypedDict
        assert (await obstore.head_async(bucket, f"a/b/{name}"))["size"] == 5
        other = open_store(f"s3://{s3.bucket}/a", s3.environ)
        assert await other.open(name) is None

    use(open_store(f"s3://{s3.bucket}/a/b/", s3.environ), story)


@pytest.mark.parametrize(
    ("change", "bucket", "trouble"),
    [
        ({"AWS_SECRET_ACCESS_KEY": "wrong-secret"}, "images", Trouble.REFUSED),
        ({"AWS_ACCESS_KEY_ID": "NOBODY"}, "images", Trouble.REFUSED),
        ({}, "no-such-bucket", Trouble.NO_BUCKET),
        ({}, "NOT_A_BUCKET", Trouble.NO_BUCKET),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}, "images", Trouble.UNREACHABLE),
    ],
)
def test_tells_what_is_wrong(s3: S3Server, change: dict[str, str], bucket: str, trouble: Trouble) -> None:
    """A wrong credential, a wrong bucket and a server out of reach are told apart, and no secret is in what is said."""

    async def story(store: Store) -> None:
        name = image_name("image/png")
        for call in (store.check(), store.put(name, b"image")):
            with pytest.raises(StoreUnavailable) as caught:
                await call
            assert caught.value.trouble is trouble, caught.value
            assert "secret" not in caught.value.detail
            assert len(caught.value.detail) <= 400

    use(open_store(f"s3://{bucket}/x", {**s3.environ, **change}), story)


def test_operators_are_told_what_is_wrong(s3: S3Server, tmp_path: Path) -> None:
    """`check-config --contact` and readiness tell a refused credential, a wrong bucket and no server apart."""
    wrong = {
        Trouble.REFUSED: {"AWS_SECRET_ACCESS_KEY": "wrong-secret"},
        Trouble.NO_BUCKET: {"GATEWAY_STORAGE_URL": "s3://no-such-bucket/x"},
        Trouble.UNREACHABLE: {"AWS_ENDPOINT_URL": "http://127.0.0.1:1"},
    }
    one = describe(tmp_path, upstream="http://127.0.0.1:1", keys=("key",), storage_url=f"s3://{s3.bucket}/x")
    one.environment |= s3.environ
    for trouble, change in wrong.items():
        done = one.cli("check-config", "--contact", **change)
        assert done.returncode == 1
        assert f"GATEWAY_STORAGE_URL: images cannot be kept: {trouble}" in done.stderr
        assert "wrong-secret" not in done.stderr
    one.environment |= wrong[Trouble.REFUSED]
    try:
        one.begin()
        wait_until(lambda: one.http.get("/readyz").json()["degraded"] == ["images"], "readiness to tell")
        assert one.http.get("/readyz").json()["spool"]["waits_because"] == Trouble.REFUSED
        assert one.http.get("/readyz").status_code == 200
    finally:
        one.end()


def test_signed_link_needs_no_credential(s3: S3Server) -> None:
    """A link of the bucket itself names the image and carries a signature; a text that is no name gets none."""

    async def story(store: Store) -> None:
        assert isinstance(store, ObjectStore)
        name = image_name("image/png")
        await store.put(name, b"image")
        link = await store.sign(name, 60)
        assert link is not None
        assert f"{name}?" in link
        assert "Signature" in link
        assert await store.sign("../x", 60) is None

    use(open_store(f"s3://{s3.bucket}/signed", s3.environ), story)
