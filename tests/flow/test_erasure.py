"""Erasure over HTTP and by command, in both ways of running: what was said and drawn is nowhere any more."""

import json
import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import obstore
import pytest
from obstore.store import S3Store
from redis import Redis

from gateway.data_dir import IMAGES
from gateway.database.tables import metadata
from tests.servers.fleet import Fleet
from tests.servers.gateway import describe
from tests.servers.pair import pair
from tests.servers.postgres import Postgres
from tests.servers.process import wait_until
from tests.servers.redis import Server, redis_server
from tests.servers.seaweedfs import S3Server
from tests.servers.simulator import launched
from tests.servers.workers import SECRET, rows

CANARY, OTHER_CANARY = "quetzalcoatlus", "archaeopteryx"
DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class Way:
    """A gateway that runs in one of the two ways, and everything in which something could be left."""

    fleet: Fleet
    redis: Server | None
    bucket: S3Store | None

    def ask(self, key: str, prompt: str, headers: dict[str, str] | None = None, **members: object) -> httpx.Response:
        """Ask for an image."""
        return self.fleet.gateway.post(key, headers, prompt=prompt, **members)

    def call(self, method: str, generation: str, key: str) -> httpx.Response:
        """Do something with a generation."""
        headers = {"Authorization": f"Bearer {key}"}
        return self.fleet.gateway.http.request(method, f"/generations/{generation}", headers=headers)

    def row(self, generation: str) -> dict[str, Any]:
        """Return a generation's row."""
        return next(row for row in rows(self.fleet.gateway, "SELECT * FROM generations") if row["id"] == generation)

    def images(self) -> set[str]:
        """Return the names of what is in the store."""
        if self.bucket is not None:
            return {str(one["path"]) for page in obstore.list(self.bucket) for one in page} - {"gateway-check"}
        directory = self.fleet.gateway.data_dir / IMAGES
        return {path.name for path in directory.rglob("*") if path.is_file()}

    def holding(self, canary: bytes) -> list[str]:
        """Return the places in which some bytes are: tables, cache, log and, of an embedded gateway, every file."""
        places = {
            table.name: repr(rows(self.fleet.gateway, str(table.select()))).encode() for table in metadata.sorted_tables
        }
        places["log"] = self.fleet.gateway.log.encode()
        if self.redis is not None:
            with closing(Redis.from_url(self.redis.url)) as client:
                for name in client.scan_iter("igw:*"):
                    kind = client.type(name)
                    places[name.decode()] = repr(
                        client.hgetall(name) if kind == b"hash" else client.dump(name)
                    ).encode()
        for path in self.fleet.gateway.data_dir.rglob("*"):
            if path.is_file() and not path.name.endswith("-wal"):  # the log is emptied by the next checkpoint
                places[str(path)] = path.read_bytes()
        return [place for place, content in places.items() if canary in content]


@contextmanager
def embedded(directory: Path, *options: str) -> Iterator[Way]:
    """Run a gateway with all defaults."""
    with pair(directory, *options) as two:
        yield Way(Fleet(two.gateway, two.simulator, two.key), None, None)


@contextmanager
def shared(directory: Path, database: str, redis: Server, s3: S3Server) -> Iterator[Way]:
    """Run two workers with PostgreSQL, Redis and S3."""
    named = {"database_url": database, "secret": SECRET, "redis_url": redis.url, "workers": "2"}
    with launched(directory / "upstream") as upstream:
        serving = describe(
            directory / "gateway",
            upstream=upstream.url,
            keys=upstream.keys,
            storage_url=f"s3://{s3.bucket}/{directory.name}",
            **named,
        )
        serving.environment |= s3.environ
        try:
            serving.migrate()
            serving.begin()
            upstream.await_ready()
            bucket = S3Store(s3.bucket, prefix=directory.name, config=s3.environ, client_options={"allow_http": True})  # type: ignore[arg-type]  # a TypedDict
            yield Way(Fleet(serving, upstream, serving.tenant("team")), redis, bucket)
        finally:
            serving.end()


@pytest.fixture(scope="module", params=["embedded", "shared"])
def way(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Way]:
    """Run a gateway in each way in turn; the tests have tenants of their own."""
    directory = tmp_path_factory.mktemp(request.param)
    if request.param == "embedded":
        with embedded(directory) as one:
            yield one
        return
    server: Postgres = request.getfixturevalue("postgres_server")
    name = server.create_database()
    with (
        redis_server() as redis,
        shared(directory, server.url(name), redis, request.getfixturevalue("s3")) as one,
    ):
        yield one
    server.drop_database(name)


def test_an_erased_generation_is_gone_for_everybody(way: Way) -> None:
    """Erased once or twice: its state and cost are shown, its image, reply, cache entry and references are not."""
    key = way.fleet.gateway.tenant("forgetful")
    prompt = f"a {CANARY}"
    first = way.ask(key, prompt, {"Idempotency-Key": "one"}, seed=5)
    hit = way.ask(key, prompt, {"Idempotency-Key": "two"}, seed=5)
    assert "hit" in hit.headers["cache-status"]
    generation, link = first.headers["x-generation-id"], first.json()["data"][0]["image"]
    assert way.holding(CANARY.encode()) != []
    before = way.row(generation)

    stranger = way.fleet.gateway.tenant("curious")
    not_theirs, not_there = way.call("DELETE", generation, stranger), way.call("DELETE", "gen_none", key)
    assert (not_theirs.status_code, not_theirs.content) == (not_there.status_code, not_there.content)
    assert not_there.status_code == 404
    assert way.fleet.gateway.http.get(link).status_code == 200
    for _ in range(2):
        erased = way.call("DELETE", generation, key)
        assert (erased.status_code, erased.content) == (204, b"")

    shown = way.call("GET", generation, key).json()
    assert (shown["state"], shown["cost_yuan"], shown["reply"]) == ("settled", "0.040000", None)
    assert shown["erased"] is True
    assert way.fleet.gateway.http.get(link).status_code == 404
    after = way.row(generation)
    assert {name for name in before if before[name] != after[name]} == {
        *("ask", "reply", "error", "erase_asked_at", "erased_at")
    }
    assert way.holding(CANARY.encode()) == []
    calls = way.fleet.simulator.stats()["calls"]
    for name in ("one", "two"):
        repeated = way.ask(key, prompt, {"Idempotency-Key": name}, seed=5)
        assert repeated.status_code == 410
        assert "erased" in repeated.json()["msg"]
    reference = way.ask(key, "edit it", input_image=link)
    assert (reference.status_code, reference.json()["code"]) == (400, -1)
    assert way.fleet.simulator.stats()["calls"] == calls
    again = way.ask(key, prompt, seed=5)
    assert again.headers["x-cost-yuan"] == "0.040000", "made anew, not found anywhere"
    assert way.fleet.gateway.http.get(again.json()["data"][0]["image"]).status_code == 200


def test_a_later_generation_of_the_same_outlives_the_erasure(way: Way) -> None:
    """Erasing a generation neither takes the cached reply of a later one of the same ask nor keeps one from it."""
    key = way.fleet.gateway.tenant("repetitive")
    calls = way.fleet.simulator.stats()["calls"]
    first = way.ask(key, "the same", seed=6)
    second = way.ask(key, "the same", {"Cache-Control": "no-cache"}, seed=6)
    assert way.call("DELETE", first.headers["x-generation-id"], key).status_code == 204
    assert way.ask(key, "the same", seed=6).headers["x-generation-id"] == second.headers["x-generation-id"]
    assert way.call("DELETE", second.headers["x-generation-id"], key).status_code == 204
    made = [way.ask(key, "the same", seed=6).headers["x-generation-id"] for _ in range(3)]
    assert len(set(made)) == 1
    assert way.fleet.simulator.stats()["calls"] == calls + 3


def test_a_running_generation_is_erased_when_it_is_over(way: Way) -> None:
    """While it is reserved 409 says when to ask again; then it goes."""
    key = way.fleet.gateway.tenant("hasty")
    prompt, headers = "soon over [delay=1]", {"Idempotency-Key": "running"}
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(way.ask, key, prompt, headers)
        wait_until(lambda: bool(way.fleet.simulator.stats()["open"] == 1), "the call to be upstream")
        generation = way.ask(key, prompt, headers).headers["location"].rpartition("/")[2]
        refused = way.call("DELETE", generation, key)
        assert (refused.status_code, refused.json()["msg"]) == (409, "The generation is still running")
        assert int(refused.headers["retry-after"]) >= 1
        assert running.result().status_code == 200
    assert way.call("DELETE", generation, key).status_code == 204


def test_a_tenant_is_erased_by_a_command_beside_the_gateway(way: Way) -> None:
    """`gateway erase` takes words, images and cached replies of one tenant; another's and the money stay."""
    key, other = way.fleet.gateway.tenant("closing"), way.fleet.gateway.tenant("staying")
    links = [way.ask(key, f"{OTHER_CANARY} {seed}", seed=seed).json()["data"][0]["image"] for seed in range(3)]
    stays = way.ask(other, "stays", seed=1).json()["data"][0]["image"]
    spent = way.fleet.charged("closing")
    done = way.fleet.gateway.cli("erase", "--tenant", "closing")
    assert (done.returncode, done.stdout) == (0, "3 generations erased\n"), done.stderr
    assert way.holding(OTHER_CANARY.encode()) == []
    assert [way.fleet.gateway.http.get(link).status_code for link in (*links, stays)] == [404, 404, 404, 200]
    assert way.fleet.charged("closing") == spent
    assert way.ask(key, f"{OTHER_CANARY} 1", seed=1).headers["x-cost-yuan"] == "0.040000"
    assert "hit" in way.ask(other, "stays", seed=1).headers["cache-status"]
    told = json.loads(way.fleet.gateway.cli("erase", "--tenant", "staying", "--user", "ann", "--json").stdout)
    assert told == {"tenant": "staying", "user": "ann", "generations": 0, "running": 0, "waiting": 0}
    assert "hit" in way.ask(other, "stays", seed=1).headers["cache-status"]
    missing = way.fleet.gateway.cli("erase", "--tenant", "nobody")
    assert (missing.returncode, missing.stderr) == (1, "gateway: There is no tenant named nobody\n")


def test_a_sample_of_images_is_looked_at_again(way: Way) -> None:
    """`gateway images verify` is silent about what is there, and names what is missing or altered."""
    key = way.fleet.gateway.tenant("careful")
    answers = [way.ask(key, f"kept {number}") for number in range(3)]
    names = [httpx.URL(one.json()["data"][0]["image"]).path.rpartition("/")[2] for one in answers]
    good = way.fleet.gateway.cli("images", "verify", "--sample", "100000", "--json")
    assert (good.returncode, json.loads(good.stdout)["rows"]) == (0, []), good.stdout
    for name, content in zip(names, (None, b"another picture"), strict=False):
        _put(way, name, content)
    bad = way.fleet.gateway.cli("images", "verify", "--sample", "100000", "--json")
    found = {row["image"]: (row["damage"], row["tenant"], row["generation"]) for row in json.loads(bad.stdout)["rows"]}
    assert bad.returncode == 1
    ids = [one.headers["x-generation-id"] for one in answers]
    assert found == {
        names[0]: ("missing", "careful", ids[0]),
        names[1]: ("altered", "careful", ids[1]),
    }
    table = way.fleet.gateway.cli("images", "verify", "--sample", "100000")
    assert table.stdout.splitlines()[0].split() == ["IMAGE", "TENANT", "GENERATION", "DAMAGE"]


def test_what_is_old_is_erased_by_itself(tmp_path: Path) -> None:
    """With `--retention-days` a generation of the day before is swept away, and one of today is not."""
    with embedded(tmp_path) as way:
        gateway = way.fleet.gateway
        old, young = (way.ask(way.fleet.key, f"{CANARY} {seed}", seed=seed) for seed in (1, 2))
        with closing(sqlite3.connect(gateway.database_path)) as books, books:
            books.execute(
                "UPDATE generations SET created_at = created_at - ? WHERE id = ?",
                (DAY_MS, old.headers["x-generation-id"]),
            )
        assert gateway.stop() == 0
        assert gateway.cli("tenant", "update", "team", "--retention-days", "1").returncode == 0
        gateway.begin()
        link = old.json()["data"][0]["image"]
        # Who reads an image in the moment in which it goes gets a cut answer.
        wait_until(lambda: way.row(old.headers["x-generation-id"])["erased_at"] is not None, "retention")
        assert gateway.http.get(link).status_code == 404
        assert gateway.http.get(young.json()["data"][0]["image"]).status_code == 200
        assert "hit" not in way.ask(way.fleet.key, f"{CANARY} 1", seed=1).headers["cache-status"]


def test_an_erasure_outlasts_an_outage_of_the_store(tmp_path: Path) -> None:
    """With the images out of reach DELETE answers 202 and nothing is shown any more; they go once they are back."""
    with embedded(tmp_path) as way:
        gateway = way.fleet.gateway
        answer = way.ask(way.fleet.key, CANARY)
        generation, (name,) = answer.headers["x-generation-id"], way.images()
        images = gateway.data_dir / IMAGES
        away = images.rename(gateway.data_dir / "not-mounted")
        told = way.call("DELETE", generation, way.fleet.key)
        assert (told.status_code, told.json()) == (202, {"id": generation, "erased": True})
        assert way.call("GET", generation, way.fleet.key).json()["reply"] is None
        assert way.row(generation)["erased_at"] is None
        assert gateway.stop() == 0
        assert gateway.cli("erase", "--tenant", "team").returncode == 1, "the store is away for it too"
        away.rename(images)
        assert name in way.images()
        gateway.begin()
        wait_until(lambda: way.row(generation)["erased_at"] is not None, "the sweeper")
        assert way.images() == set()
        wait_until(lambda: gateway.metric("gateway_erasures_waiting") == 0, "the gauge")
        assert way.holding(CANARY.encode()) == []


def test_an_erasure_outlasts_an_outage_of_redis(tmp_path: Path) -> None:
    """With Redis away DELETE answers 202; a Redis that comes back with the reply in it loses it within seconds."""
    with (
        redis_server(None, "--appendonly", "yes") as redis,
        pair(tmp_path, redis_url=redis.url, secret=SECRET) as two,
    ):
        way, headers = Way(Fleet(two.gateway, two.simulator, two.key), redis, None), {"Cache-Control": "only-if-cached"}
        generation = way.ask(two.key, CANARY, seed=1).headers["x-generation-id"]
        assert way.ask(two.key, CANARY, headers, seed=1).status_code == 200
        redis.kill()
        told = way.call("DELETE", generation, two.key)
        assert (told.status_code, told.json()) == (202, {"id": generation, "erased": True})
        wait_until(lambda: two.gateway.metric("gateway_erasures_waiting") == 1, "the sweeper to have tried")
        redis.start()
        with closing(Redis.from_url(redis.url)) as client:
            assert list(client.scan_iter("igw:replies:*")) != [], "what was cached outlived the crash"
        began = time.monotonic()
        wait_until(lambda: two.gateway.metric("gateway_redis_up") == 1, "Redis to be asked again")
        wait_until(lambda: way.ask(two.key, CANARY, headers, seed=1).status_code == 504, "the reply to be dropped")
        took = time.monotonic() - began
        print(f"an erased reply was dropped {took:.1f} s after Redis came back")
        assert took < 8
        wait_until(lambda: way.row(generation)["erased_at"] is not None, "the mark")
        assert way.images() == set()
        assert way.holding(CANARY.encode()) == []


def _put(way: Way, name: str, content: bytes | None) -> None:
    """Put other bytes in the place of an image; None removes it."""
    if way.bucket is not None:
        if content is None:
            obstore.delete(way.bucket, name)
        else:
            obstore.put(way.bucket, name, content)
        return
    path = next((way.fleet.gateway.data_dir / IMAGES).rglob(name))
    path.unlink()
    if content is not None:
        path.write_bytes(content)
