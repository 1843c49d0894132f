"""Health says how each store is, in time, and leaves no trace."""

import time
from pathlib import Path

import httpx
import pytest

from tests.servers.fleet import fleet
from tests.servers.pair import Pair, pair
from tests.servers.postgres import postgres
from tests.servers.process import wait_until
from tests.servers.redis import redis_server

SLOWEST = 2.5
"""Seconds that an answer may take, whatever hangs: a probe's patience and a little."""


def ready(both: Pair) -> httpx.Response:
    """Ask whether the gateway is ready; the answer comes in time."""
    begun = time.monotonic()
    answer = both.gateway.http.get("/readyz")
    assert time.monotonic() - begun < SLOWEST
    return answer


def test_health_names_the_stores(shared: Pair) -> None:
    """Embedded, there are two; both ways of asking are answered, and a process that lives says no more than that."""
    assert ready(shared).json() == {"status": "ready", "stores": {"sql": "up", "images": "up"}, "degraded": []}
    assert shared.gateway.http.head("/readyz").status_code == 200
    assert shared.gateway.http.get("/livez").json() == {"status": "alive"}


def test_health_leaves_no_trace(shared: Pair) -> None:
    """However often it is asked, no counter moves and no line is logged."""

    def counted() -> dict[str, float]:
        return {
            f"{one.name}{one.labels}": one.value
            for one in shared.gateway.metrics()
            if one.name.startswith("gateway_") and "stall" not in one.name
        }

    before, lines = counted(), shared.gateway.log
    for _ in range(50):
        for path in ("/livez", "/readyz"):
            assert shared.gateway.http.get(path).status_code == 200
    assert counted() == before
    assert shared.gateway.log == lines


def test_a_hanging_redis_degrades_and_no_more(tmp_path: Path) -> None:
    """The gateway stays ready, says that Redis is down, in time, and that it is up again."""
    with redis_server() as redis, pair(tmp_path, redis_url=redis.url, secret="5f" * 20 + "0123456789abcdef") as both:
        assert ready(both).json() == {
            "status": "ready",
            "stores": {"sql": "up", "redis": "up", "images": "up"},
            "degraded": [],
        }
        with redis.stopped():
            wait_until(lambda: ready(both).json()["degraded"] == ["redis"], "readiness to tell")
            assert ready(both).status_code == 200
        wait_until(lambda: ready(both).json()["degraded"] == [], "Redis to be back")


@pytest.mark.full
def test_a_hanging_postgres_hangs_nobody(tmp_path: Path) -> None:
    """With SQL frozen readiness is refused in time, on every probe, and given back after."""
    with (
        postgres() as server,
        fleet(tmp_path, server.url(server.create_database())) as serving,
    ):
        both = Pair(serving.gateway, serving.simulator, serving.key)
        server.freeze()
        try:
            wait_until(lambda: ready(both).status_code == 503, "readiness to tell")
            for _ in range(20):
                answer = ready(both)
                assert answer.status_code == 503
                assert answer.json()["status"] == "ledger unavailable"
                assert answer.json()["degraded"] == ["sql"]
        finally:
            server.thaw()
        wait_until(lambda: ready(both).status_code == 200, "readiness to come back")
