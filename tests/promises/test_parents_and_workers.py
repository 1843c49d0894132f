"""Several workers and their parent, when something is wrong with either."""

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.servers.fleet import Fleet, fleet
from tests.servers.process import wait_until
from tests.servers.redis import Server
from tests.servers.workers import CATALOG, workers_of


def gone(pid: int) -> bool:
    """Whether a process has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


@pytest.fixture
def two(tmp_path: Path, postgres_url: str, redis: Server) -> Iterator[Fleet]:
    """Give a gateway of two workers."""
    with fleet(tmp_path, postgres_url, redis_url=redis.url, workers="2") as serving:
        yield serving


def test_workers_do_not_outlive_a_parent_that_is_killed(two: Fleet) -> None:
    """When the parent dies, however it dies, its workers finish what they do and end: nobody else could stop them."""
    workers = workers_of(two.gateway)
    os.kill(two.gateway.pid, signal.SIGKILL)
    wait_until(lambda: all(gone(pid) for pid in workers), "the workers to end", 30)


def test_a_worker_that_leaves_is_not_hurried_by_a_stop(two: Fleet) -> None:
    """SIGTERM while a worker is being replaced is the first word to stop, not the second: what runs is finished."""
    with ThreadPoolExecutor(6) as pool:
        asked = [pool.submit(two.gateway.post, two.key, prompt=f"picture {number} [delay=2]") for number in range(6)]
        wait_until(lambda: two.simulator.stats()["open"] == 6, "the calls to be open")
        two.gateway.send(signal.SIGHUP)
        wait_until(lambda: "leaving" in two.gateway.log, "a worker to leave", 30)
        assert two.gateway.stop() == 0
        assert [one.result().status_code for one in asked] == [200] * 6
    assert "in a hurry" not in two.gateway.log


@pytest.mark.full
def test_a_replacement_that_cannot_start_changes_nothing(tmp_path: Path, postgres_url: str, redis: Server) -> None:
    """With a faulty catalog SIGHUP leaves the old workers as they are; once it is mended they are replaced."""
    catalog = tmp_path / "catalog.toml"
    catalog.write_text(CATALOG)
    with fleet(tmp_path, postgres_url, redis_url=redis.url, workers="2", catalog=str(catalog)) as serving:
        before = set(workers_of(serving.gateway))
        catalog.write_text("[models")
        serving.gateway.send(signal.SIGHUP)
        wait_until(lambda: "the old ones stay" in serving.gateway.log, "the log to say so", 60)
        wait_until(lambda: set(workers_of(serving.gateway)) == before, "the failed one to be gone", 30)
        assert serving.gateway.http.get("/readyz").status_code == 200
        catalog.write_text(CATALOG)
        serving.gateway.send(signal.SIGHUP)
        wait_until(lambda: "workers replaced" in serving.gateway.log, "the workers to be replaced", 60)
        after = set(workers_of(serving.gateway))
        assert len(after) == 2
        assert not after & before
