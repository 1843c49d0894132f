"""No secret leaves a shared installation: not its stores' passwords either, whatever is killed, away or asked for."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from signal import SIGKILL
from typing import Any
from urllib.parse import quote

import httpx
from redis import Redis

from tests.canaries import FAULTS, OTHER_KEY, UPSTREAM_KEY, everything_asked, files_of, hits, repeat_keys, reply_of
from tests.servers.collector import Collector, collector
from tests.servers.fleet import Fleet
from tests.servers.gateway import describe
from tests.servers.pair import Pair
from tests.servers.postgres import USER, Postgres, postgres
from tests.servers.process import wait_until
from tests.servers.redis import Server, redis_server
from tests.servers.simulator import simulator
from tests.servers.workers import workers_of

SECRET = "9d41canary7be2c06f5a83e1d94b7c20f68ae35d17c4b"
ADMIN_TOKEN = "canary-admin-71f0c2d85b3e964a0d7f18c25b9e6a34"
DATABASE_PASSWORD = "canary/pg+5c81:e07@fa"
IN_URL = quote(DATABASE_PASSWORD, safe="")
REDIS_PASSWORD = "canary-redis-82b1f4"
SERVING = '"event":"serving"'
ALL_OF = "SELECT * FROM {}"
COLLECTOR_KEY = "canary-collector-6d05aa"


@dataclass(frozen=True, slots=True)
class Everything:
    """All that runs."""

    both: Pair
    fleet: Fleet
    postgres: Postgres
    redis: Server
    collected: Collector

    def begin(self) -> None:
        """Start the gateway, and wait for both workers."""
        gateway = self.both.gateway
        begun = gateway.log.count(SERVING) if gateway.log_path.exists() else 0
        gateway.begin()
        wait_until(lambda: gateway.log.count(SERVING) > begun, "all workers to serve")


@contextmanager
def everything(directory: Path) -> Iterator[Everything]:
    """Run two workers, at their most talkative, on stores that have passwords."""
    with (
        postgres() as server,
        redis_server() as redis,
        simulator(directory / "upstream", keys=(UPSTREAM_KEY, OTHER_KEY)) as upstream,
        collector() as collected,
    ):
        with redis.client() as client:
            client.config_set("requirepass", REDIS_PASSWORD)
        url = server.url(server.create_database())
        serving = describe(
            directory / "gateway",
            upstream=upstream.url,
            keys=(UPSTREAM_KEY, OTHER_KEY),
            secret=SECRET,
            admin_token=ADMIN_TOKEN,
            database_url=url.replace(f"{USER}@", f"{USER}:{IN_URL}@"),
            redis_url=redis.url.replace("redis://", f"redis://:{REDIS_PASSWORD}@"),
            log_level="debug",
            upstream_timeout="1",
            workers="2",
        )
        serving.environment |= {
            "OTEL_EXPORTER_OTLP_ENDPOINT": collected.url,
            "OTEL_EXPORTER_OTLP_HEADERS": f"api-key={COLLECTOR_KEY}",
            "OTEL_BSP_SCHEDULE_DELAY": "100",
        }
        try:
            serving.migrate()
            repeat_keys(upstream)
            key = serving.tenant("team")
            one = Everything(Pair(serving, upstream, key), Fleet(serving, upstream, key), server, redis, collected)
            one.begin()
            yield one
        finally:
            serving.end()


def administered(one: Everything) -> Iterator[httpx.Response]:
    """Ask the admin API, with its token, with others, and with one in the wrong place."""
    http = one.both.gateway.http
    for token in (ADMIN_TOKEN, ADMIN_TOKEN[:-1], SECRET, one.both.key):
        for path in ("/admin/api/tenants", "/admin/api/audit", "/admin/api/unknown", "/admin/api/nothing"):
            yield http.get(path, headers={"Authorization": f"Bearer {token}"})
    yield http.get("/admin/api/tenants", params={"token": ADMIN_TOKEN})
    yield http.get("/models", headers={"Authorization": ADMIN_TOKEN})
    yield http.post("/admin/api/tenants", json={"name": ADMIN_TOKEN * 2}, headers={"Authorization": SECRET})


def without_stores(one: Everything) -> Iterator[httpx.Response]:
    """Ask while stores are away."""
    both = one.both
    with one.redis.stopped():
        yield both.post("without Redis", seed=1)
        yield both.gateway.http.get("/readyz")
    one.postgres.stop()
    yield both.post("without SQL")
    yield both.gateway.http.get("/readyz")
    yield both.gateway.http.get("/admin/api/tenants", headers={"Authorization": ADMIN_TOKEN})
    one.postgres.start()
    wait_until(lambda: both.gateway.http.get("/readyz").status_code == 200, "SQL to be back")


def after_kills(one: Everything) -> Iterator[httpx.Response]:
    """Ask after a worker and its parent were killed."""
    both = one.both
    os.kill(workers_of(both.gateway)[0], SIGKILL)
    wait_until(lambda: '"event":"worker died"' in both.gateway.log, "the parent to tell")
    both.gateway.kill()
    one.begin()
    yield both.post("after a crash")


def told_at_start(one: Everything) -> Iterator[str]:
    """Run commands with settings that are at fault, and with good ones."""
    gateway = one.both.gateway
    faults = {
        "GATEWAY_DATABASE_URL": f"postgres://{USER}:{IN_URL}@h:x/d",
        "GATEWAY_REDIS_URL": f"redis://:{REDIS_PASSWORD}@h:x/y",
        "GATEWAY_ADMIN_TOKEN": f"{ADMIN_TOKEN} {ADMIN_TOKEN}",
        "GATEWAY_SECRET": SECRET[:20],
        "GATEWAY_UPSTREAM_API_KEYS": f"{UPSTREAM_KEY} {OTHER_KEY}",
    }
    away = {"GATEWAY_DATABASE_URL": f"postgresql://{USER}:{IN_URL}@127.0.0.1:1/d"}
    for words, given in (
        ("check-config --contact", faults),
        ("tenant list", away),
        ("serve", faults),
        ("check-config --contact", away),
        ("serve", away),
        ("check-config --contact", {}),
        ("key list team --json", {}),
        ("spend --by key", {}),
    ):
        done = gateway.cli(*words.split(), **given)
        yield done.stdout + done.stderr


def rows_of(one: Everything) -> dict[str, bytes]:
    """Return every row of every table, as text."""
    query = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
    tables = [row["table_name"] for row in one.fleet.rows(query)]
    return {f"table {table}": repr(one.fleet.rows(ALL_OF.format(table))).encode() for table in tables}


def values_of(redis: Server) -> dict[str, bytes]:
    """Return every key of Redis with what it holds."""
    readers: dict[bytes, Callable[[Any, bytes], object]] = {
        b"string": lambda client, key: client.get(key),
        b"hash": lambda client, key: client.hgetall(key),
        b"list": lambda client, key: client.lrange(key, 0, -1),
        b"set": lambda client, key: client.smembers(key),
        b"zset": lambda client, key: client.zrange(key, 0, -1, withscores=True),
        b"stream": lambda client, key: client.xrange(key),
    }
    with Redis(host="127.0.0.1", port=redis.port, password=REDIS_PASSWORD) as client:
        return {
            f"Redis {key!r}": repr((key, readers[client.type(key)](client, key))).encode() for key in client.keys("*")
        }


def test_no_secret_is_in_any_reply_log_metric_trace_row_or_key(
    tmp_path: Path, count: Callable[[int, int], int]
) -> None:
    """Over all that can be asked, go wrong or be killed, with the log at its most talkative, there is not one hit."""
    places: dict[str, bytes] = {}
    with everything(tmp_path) as one:
        gateway, key = one.both.gateway, one.both.key
        minted = gateway.http.post("/tokens", json={}, headers={"Authorization": f"Bearer {key}"}).json()["token"]
        with_token = gateway.post(minted, prompt="by a page", seed=2)
        assert with_token.status_code == 200
        answers = [with_token, *everything_asked(one.both, FAULTS[:: count(6, 1)]), *administered(one)]
        places |= values_of(one.redis)
        before = repr(gateway.metrics()).encode()
        answers += without_stores(one)
        if count(0, 1):
            answers += after_kills(one)
        for number, answer in enumerate(answers):
            places[f"reply {number} to {answer.request.method} {answer.request.url.path}"] = reply_of(answer)
        for number, text in enumerate(islice(told_at_start(one), count(2, 8))):
            places[f"command {number}"] = text.encode()
        places |= {"metrics": before, "metrics after": repr(gateway.metrics()).encode()}
        places |= rows_of(one)
        wait_until(lambda: len(one.collected.named("upstream")) > 0, "traces")
        assert gateway.stop() == 0
        places |= {f"file {name}": content for name, content in files_of(gateway.data_dir).items()}
        places |= {"log": gateway.log.encode(), "traces": b"".join(one.collected.bodies)}
    canaries = {
        "upstream": UPSTREAM_KEY,
        "account": OTHER_KEY,
        "tenant": key,
        "client token": minted,
        "secret": SECRET,
        "admin": ADMIN_TOKEN,
        "database": DATABASE_PASSWORD,
        "database, in a URL": IN_URL,
        "Redis": REDIS_PASSWORD,
        "collector": COLLECTOR_KEY,
    }
    assert hits(canaries, places) == []
    assert {200, 400, 401, 402, 403, 404, 502, 503} <= {answer.status_code for answer in answers}
    assert b"by a page" in places["table generations"], "what is looked through is what happened"
    assert [name for name in places if name.startswith("Redis ")]
