"""Workers count in files of their own, and what they counted is shown as one process's."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from gateway.worker_metrics import VARIABLE, WorkerMetrics

COUNT = """
import os
from prometheus_client import CollectorRegistry
from gateway.metrics import Metrics

metrics = Metrics(CollectorRegistry())
metrics.count_request("team", "flux-2-pro", "generated")
metrics.add_cost("team", "flux-2-pro", "flux", 40_000)
metrics.request_seconds.observe(0.3)
metrics.generations_unknown.set(os.getpid())
metrics.in_flight.inc()
print(os.getpid())
"""


@pytest.fixture(autouse=True)
def _own_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


@pytest.fixture
def shown() -> Iterator[WorkerMetrics]:
    """Give what a parent has, until it closes it."""
    metrics = WorkerMetrics()
    yield metrics
    metrics.close()


def work(metrics: WorkerMetrics) -> int:
    """Let a worker count one of each and end; return its process id."""
    environ = dict(os.environ) | {VARIABLE: str(metrics.directory)}
    return int(subprocess.run([sys.executable, "-c", COUNT], env=environ, check=True, capture_output=True).stdout)


def samples(metrics: WorkerMetrics) -> dict[str, float]:
    """Return the values that a scrape shows, without regard to labels."""
    registry = CollectorRegistry()
    metrics.register(registry)
    return {one.name: one.value for family in registry.collect() for one in family.samples}


def test_what_the_dead_counted_stays_in_one_file_a_kind(shown: WorkerMetrics) -> None:
    """However many workers die, counters and histograms keep their sums, and a scrape reads no more files."""
    for _ in range(3):
        shown.bury(work(shown))
    last = work(shown)
    found = samples(shown)
    assert found["gateway_requests_total"] == found["gateway_request_seconds_count"] == 4
    assert found["gateway_cost_yuan_total"] == pytest.approx(0.16)
    assert found["gateway_request_seconds_sum"] == pytest.approx(1.2)
    names = {path.name for path in shown.directory.glob("*.db")}
    assert {name for name in names if str(last) not in name} == {"counter_dead.db", "histogram_dead.db"}


def test_the_dead_are_in_no_gauge(shown: WorkerMetrics) -> None:
    """What a dead worker last said of the present is forgotten with it."""
    dead, living = work(shown), work(shown)
    shown.bury(dead)
    found = samples(shown)
    assert found["gateway_generations_unknown"] == living
    assert found["gateway_in_flight_generations"] == 1
    shown.bury(living)
    assert "gateway_in_flight_generations" not in samples(shown)


def test_what_a_killed_launch_left_behind_is_removed(tmp_path: Path, shown: WorkerMetrics) -> None:
    """A launch removes the directories that nobody holds, and no other."""
    killed, others = WorkerMetrics(), tmp_path / "gateway-metrics-of-something-else"
    worker = os.dup(killed.lock)
    os.close(killed.lock)
    others.mkdir()
    WorkerMetrics().close()
    assert killed.directory.exists(), "a worker of it still lives"
    os.close(worker)
    WorkerMetrics().close()
    assert not killed.directory.exists()
    assert shown.directory.exists()
    assert others.exists()
