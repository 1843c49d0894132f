"""A disk that is full, as the runbook has it: nothing more is paid, nothing paid is lost, and room is all it takes."""

import subprocess
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import pytest

from tests.deploy.runbook import do
from tests.servers.fleet import fleet
from tests.servers.gateway import Gateway
from tests.servers.pair import pair
from tests.servers.postgres import postgres
from tests.servers.process import wait_until
from tests.servers.simulator import Simulator

RUNNING = 3


@pytest.fixture
def disk() -> Iterator[Path]:
    """Give a small disk of the test's own, which everybody may enter."""
    with TemporaryDirectory(prefix="gateway-disk-") as name:
        mounting = ["mount", "-t", "tmpfs", "-o", "size=96m,mode=755", "tmpfs", name]
        mounted = subprocess.run(mounting, capture_output=True, text=True, check=False)
        if mounted.returncode != 0:
            pytest.skip(f"no small disk can be mounted: {mounted.stderr.strip()}")
        try:
            yield Path(name)
        finally:
            subprocess.run(["umount", name], check=True)


@contextmanager
def full(disk: Path) -> Iterator[None]:
    """Leave no room on a disk until the block ends."""
    filler = disk / "filler"
    try:
        with filler.open("wb", buffering=0) as file, suppress(OSError):
            while file.write(bytes(4096)):
                pass
        yield
    finally:
        filler.unlink()


@contextmanager
def running(gateway: Gateway, upstream: Simulator, key: str) -> Iterator[list[Future[httpx.Response]]]:
    """Have generations run upstream when the block begins."""
    with ThreadPoolExecutor(RUNNING) as pool:
        asked = [pool.submit(gateway.post, key, prompt="[delay=3]") for _ in range(RUNNING)]
        wait_until(lambda: bool(upstream.stats()["open"] == RUNNING), "the calls to be upstream")
        yield asked


def ready(gateway: Gateway) -> tuple[int, str]:
    """Return what /readyz says."""
    said = gateway.http.get("/readyz")
    return said.status_code, said.json()["status"]


def show_that_nothing_is_paid(gateway: Gateway, upstream: Simulator, key: str) -> None:
    """Requests are refused before upstream hears of them, and told to come back."""
    before = upstream.stats()["calls"]
    for _ in range(5):
        refused = gateway.post(key)
        assert refused.status_code == 503
        assert int(refused.headers["Retry-After"]) >= 1
    assert upstream.stats()["calls"] == before


@pytest.mark.full
def test_a_full_data_directory_costs_no_yuan_and_no_answer(tmp_path: Path, disk: Path) -> None:
    """What runs is answered and booked once there is room, without a restart; until then nothing more is paid."""
    with pair(tmp_path, data_dir=str(disk / "data")) as both:
        one, upstream = both.gateway, both.simulator
        one.data_dir = disk / "data"
        assert both.post().status_code == 200
        with running(one, upstream, both.key) as asked:
            with full(disk):
                assert "100%" in do("Disk full", one)
                show_that_nothing_is_paid(one, upstream, both.key)
                for answer in asked:
                    assert answer.result().status_code == 200
                    assert upstream.host in answer.result().json()["data"][0]["image"], (
                        "the image is given as upstream sent it"
                    )
                show_that_nothing_is_paid(one, upstream, both.key)
                assert ready(one) == (503, "images cannot be kept")
            wait_until(lambda: ready(one)[0] == 200, "the gateway to find room")
        assert both.post().status_code == 200
        wait_until(lambda: both.settled() == upstream.bill_total(), "all that was paid to be booked")
        assert one.held() == 0
        assert "journal committed" in one.log


@pytest.mark.full
def test_a_full_disk_of_postgresql_costs_no_yuan_and_no_image(tmp_path: Path, disk: Path) -> None:
    """What runs is kept and answered, and booked once there is room; until then nothing more is paid."""
    with postgres(disk) as server, fleet(tmp_path, server.url(server.create_database())) as serving:
        one, upstream, key = serving.gateway, serving.simulator, serving.key

        def refused() -> bool:
            # Again and again: PostgreSQL still writes where it has room already.
            return all(one.post(key).status_code == 503 for _ in range(20))

        with running(one, upstream, key) as asked, full(disk):
            wait_until(refused, "PostgreSQL to want more room")
            assert [answer.result().status_code for answer in asked] == [200] * RUNNING
            wait_until(refused, "PostgreSQL to want more room")
            show_that_nothing_is_paid(one, upstream, key)
        wait_until(lambda: one.post(key).status_code == 200, "the gateway to find room")
        wait_until(lambda: serving.books().held == 0, "all that was paid to be booked")
        books = serving.books()
        assert books.cost == books.spent == serving.billed()
        assert books.images == len(upstream.bill())
        assert "journal committed" in one.log
