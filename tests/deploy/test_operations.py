"""What operators do, by the very commands of the runbook: back up, restore, replace keys and secrets."""

import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from fcntl import LOCK_EX, flock
from pathlib import Path, PurePath
from signal import SIGHUP
from threading import Event

import httpx
import obstore
import pytest
from obstore.store import S3Store

from gateway.data_dir import IMAGES, SPOOL
from gateway.simulator import BillLine
from tests.deploy.runbook import do
from tests.kept import whole
from tests.servers.gateway import Gateway, describe
from tests.servers.pair import pair
from tests.servers.postgres import Postgres
from tests.servers.process import wait_until
from tests.servers.redis import redis_server
from tests.servers.seaweedfs import S3Server, seaweedfs
from tests.servers.simulator import Simulator, simulator
from tests.servers.workers import SECRET, rows, standing

ONCE = {"Idempotency-Key": "paid-before-the-backup"}


def back_up_under_load(heading: str, gateway: Gateway, key: str, backup: Path) -> list[int]:
    """Back up while callers ask for one image after another; return the statuses that they got."""
    backup.mkdir(mode=0o700)
    statuses: list[int] = []
    done = Event()

    def ask() -> None:
        while not done.is_set():
            statuses.append(gateway.post(key).status_code)

    with ThreadPoolExecutor(4) as pool:
        asking = [pool.submit(ask) for _ in range(4)]
        try:
            wait_until(lambda: len(statuses) >= 12, "a number of generations")
            do(heading, gateway, BACKUP=backup, BUCKET_COPY=backup / "bucket")
        finally:
            done.set()
    assert [one.exception() for one in asking] == [None] * 4
    return statuses


def show_that_it_is_the_same(restored: Gateway, key: str, before: Sequence[httpx.Response]) -> None:
    """Keys, links, repeats and what is settled are those of the moment of the backup."""
    for answer in before:
        link = httpx.URL(answer.json()["data"][0]["image"])
        assert restored.http.get(link.raw_path.decode()).status_code == 200
    repeat = restored.post(key, ONCE)
    assert repeat.headers["Idempotent-Replayed"] == "true"
    assert repeat.headers["X-Generation-Id"] == before[0].headers["X-Generation-Id"]
    assert restored.post(key).status_code == 200
    settled = {row["id"] for row in rows(restored, "SELECT id FROM generations WHERE state = 'settled'")}
    assert {answer.headers["X-Generation-Id"] for answer in before} <= settled


def show_that_the_books_are_right(restored: Gateway, bill: Sequence[BillLine]) -> None:
    """Each settled generation costs what upstream billed for its image, and the budget is the sum of the rows."""
    billed = {image.sha256: line.cost for line in bill for image in line.images}
    settled = rows(
        restored,
        "SELECT cost, sha256 FROM generations LEFT JOIN images ON generations.id = generation_id"
        " WHERE state = 'settled' AND cost > 0",
    )
    assert settled
    assert all(row["cost"] == billed[row["sha256"]] for row in settled)
    (held,) = rows(
        restored, "SELECT coalesce(sum(quote), 0) AS quotes FROM generations WHERE state IN ('reserved', 'unknown')"
    )
    assert standing(restored, "team")["total"] == (sum(row["cost"] for row in settled), held["quotes"])


def show_that_every_image_is_whole(restored: Gateway, storage_url: str) -> int:
    """Each image that the ledger names has its bytes in the store; return how many there are."""
    digests = {row["name"]: row["sha256"] for row in rows(restored, "SELECT name, sha256 FROM images")}
    assert whole(storage_url, restored.environment, digests) == len(digests) > 0
    return len(digests)


def test_an_embedded_gateway_comes_back_from_its_backup(tmp_path: Path) -> None:
    """What was backed up under load serves again: key, links, repeat, each image that the ledger names, the books."""
    backup = tmp_path / "backup"
    with pair(tmp_path / "lost") as lost:
        before = [lost.post(headers=ONCE), lost.post()]
        statuses = back_up_under_load("Back up an embedded gateway", lost.gateway, lost.key, backup)
        assert set(statuses) == {200}
        shutil.rmtree(lost.gateway.data_dir / "images")  # the disk died
        lost.gateway.kill()
        restored = describe(tmp_path / "new", upstream=lost.simulator.url, keys=lost.simulator.keys)
        restored.data_dir.mkdir(mode=0o700)
        assert do("Restore an embedded gateway", restored, BACKUP=backup) == "ok\n"
        try:
            restored.begin()
            show_that_it_is_the_same(restored, lost.key, before)
            show_that_the_books_are_right(restored, lost.simulator.bill())
            images = show_that_every_image_is_whole(restored, (restored.data_dir / IMAGES).as_uri())
            print(f"backed up under {len(statuses)} generations, {images} images restored")
        finally:
            restored.end()


@dataclass(frozen=True, slots=True)
class Shared:
    """A gateway on a database and a bucket."""

    gateway: Gateway
    s3: S3Server

    @property
    def bucket(self) -> str:
        """Where its images are."""
        return self.gateway.environment["GATEWAY_STORAGE_URL"]

    @property
    def spool(self) -> list[Path]:
        """Its images that wait for the bucket."""
        return list((self.gateway.data_dir / SPOOL).rglob("*.jpg"))

    def headers_of(self, answer: httpx.Response) -> tuple[str, str]:
        """Return what the bucket tells of an image to whoever reads it there."""
        store = S3Store(self.s3.bucket, config=self.s3.environ, client_options={"allow_http": True})  # type: ignore[arg-type]  # a TypedDict
        name = PurePath(httpx.URL(answer.json()["data"][0]["image"]).path).name
        attributes = obstore.get(store, f"kept/{name}").attributes
        return attributes["Content-Type"], attributes["Cache-Control"]


@contextmanager
def on_postgresql(directory: Path, upstream: Simulator, server: Postgres) -> Iterator[Shared]:
    """Describe a gateway on a database and a bucket that are empty, and gone with the block."""
    database = server.create_database()
    (directory / "s3").mkdir(parents=True)
    with seaweedfs(directory / "s3") as s3:
        named = {"secret": SECRET, "database_url": server.url(database), "storage_url": f"s3://{s3.bucket}/kept"}
        one = describe(directory, upstream=upstream.url, keys=upstream.keys, **named)
        one.environment |= s3.environ
        try:
            yield Shared(one, s3)
        finally:
            one.end()
            server.drop_database(database)


@pytest.mark.full
def test_a_gateway_on_postgresql_comes_back_from_its_backup(tmp_path: Path, postgres_server: Postgres) -> None:
    """Dump and copy that were made under load serve on as if nothing had happened, from an empty database and bucket.

    The image that waits for the bucket meanwhile is among them.
    """
    backup = tmp_path / "backup"
    with simulator(tmp_path / "upstream") as upstream:
        with on_postgresql(tmp_path / "lost", upstream, postgres_server) as lost:
            assert lost.gateway.cli("migrate").returncode == 0
            lost.gateway.begin()
            key = lost.gateway.tenant("team")
            before = [lost.gateway.post(key, ONCE), lost.gateway.post(key)]
            headers = lost.headers_of(before[0])
            lost.s3.kill()
            before.append(lost.gateway.post(key))
            (waiting,) = lost.spool
            with waiting.open("rb") as image:
                flock(image, LOCK_EX)  # as whoever stores an image does, so it is not stored for now
                lost.s3.start()
                statuses = back_up_under_load("Back up a gateway on PostgreSQL", lost.gateway, key, backup)
            assert set(statuses) == {200}
        with on_postgresql(tmp_path / "new", upstream, postgres_server) as new:
            restored = new.gateway
            restored.data_dir.mkdir(mode=0o700)
            do("Restore a gateway on PostgreSQL", restored, BACKUP=backup, BUCKET_COPY=backup / "bucket")
            assert waiting.name in {image.name for image in new.spool}
            restored.begin()
            show_that_it_is_the_same(restored, key, before)
            show_that_the_books_are_right(restored, upstream.bill())
            wait_until(lambda: not new.spool, "all images to be in the bucket")
            images = show_that_every_image_is_whole(restored, new.bucket)
            assert new.headers_of(before[0]) == headers
            print(f"backed up under {len(statuses)} generations, {images} images restored")


@pytest.mark.full
def test_keys_and_secret_are_replaced_while_it_serves(tmp_path: Path) -> None:
    """Upstream's key, the secret and a tenant's key are replaced with no request refused that should not be."""
    keys_file, secret_file = tmp_path / "keys", tmp_path / "secret"
    old, new = "upstream-key-old", "upstream-key-new"
    keys_file.write_text(old)
    secret_file.write_text(SECRET)
    with redis_server() as redis, simulator(tmp_path / "upstream", keys=(old, new)) as upstream:
        one = describe(tmp_path / "gateway", upstream=upstream.url, keys=(), workers="2", redis_url=redis.url)
        del one.environment["GATEWAY_UPSTREAM_API_KEYS"]
        one.environment |= {
            "GATEWAY_UPSTREAM_API_KEYS_FILE": str(keys_file),
            "GATEWAY_SECRET_FILE": str(secret_file),
        }
        try:
            one.begin()
            wait_until(lambda: '"event":"serving"' in one.log, "all workers to serve")
            key = one.tenant("team")
            link = httpx.URL(one.post(key).json()["data"][0]["image"]).raw_path.decode()
            pid = str(one.pid)

            do("Replace the upstream key", one, GATEWAY_PID=pid, NEW_KEY=new, OLD_KEY=old)
            wait_until(lambda: one.log.count("workers replaced") == 1, "the workers to be replaced")
            assert one.post(key).status_code == 200
            do("Replace the upstream key", one, step=1, GATEWAY_PID=pid, NEW_KEY=new)
            wait_until(lambda: one.log.count("workers replaced") == 2, "the workers to be replaced")
            assert one.post(key).status_code == 200
            assert upstream.calls()[-1]["account"] == str(upstream.keys.index(new))

            do("Replace the secret", one, GATEWAY_PID=pid, OLD_SECRET=SECRET)
            wait_until(lambda: one.log.count("workers replaced") == 3, "the workers to be replaced")
            assert one.post(key).status_code == 200
            assert one.http.get(link).status_code == 200
            (listed,) = one.rows("SELECT id FROM keys")
            successor = do("Replace a tenant's key", one, KEY_ID=listed["id"]).strip()
            assert one.post(successor).status_code == 200
            assert one.post(key).status_code == 200

            secret_file.write_text(secret_file.read_text().split(",")[0])
            one.send(SIGHUP)
            wait_until(lambda: one.log.count("workers replaced") == 4, "the workers to be replaced")
            assert one.post(successor).status_code == 200
            assert one.post(key).status_code == 401
            assert one.http.get(link).status_code == 403
        finally:
            one.end()
