"""The arithmetic of the benchmark: a figure that is wrong is worse than none."""

import math
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from gateway.data_dir import DATABASE
from gateway.images.inspect import inspect
from tests.bench import ledger, nginx
from tests.bench.closed_loop import Load
from tests.bench.figures import Figures, Pressed, Used, targets
from tests.bench.gateway import Stalls
from tests.bench.open_loop import percentile


@pytest.mark.parametrize(("percent", "expected"), [(50, 50), (99, 99), (100, 100), (0.5, 1)])
def test_a_percentile_is_a_value_that_was_measured(percent: float, expected: float) -> None:
    """The nearest rank is taken, nothing is interpolated."""
    assert percentile(range(100, 0, -1), percent) == expected


def test_nothing_measured_meets_no_target() -> None:
    """Without a single value a percentile is infinite, not zero."""
    assert percentile([], 99) == math.inf


def test_the_longest_stall_is_the_bucket_that_holds_every_later_wake_up() -> None:
    """What was counted before the run does not make its longest stall longer."""
    before = Stalls({0.01: 5, 0.1: 5, 1: 6, math.inf: 6})
    after = Stalls({0.01: 25, 0.1: 26, 1: 27, math.inf: 27})
    assert after.longest_ms_since(before) == pytest.approx(100)


def test_the_pictures_are_pictures_of_the_sizes_that_are_promised() -> None:
    """A small image has 20 KB, a large one 2 MB as Base64, and the gateway takes both for PNGs."""
    small, large = nginx.noise(nginx.SMALL_SIDE), nginx.noise(nginx.LARGE_SIDE)
    assert 20_000 < len(small) < 21_000
    assert 2_000_000 < len(large) * 4 / 3 < 2_010_000
    assert inspect(small).width == nginx.SMALL_SIDE
    assert inspect(large).height == nginx.LARGE_SIDE


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Keep books of two settled generations."""
    with closing(sqlite3.connect(tmp_path / DATABASE)) as connection:
        connection.execute("CREATE TABLE generations (state TEXT, cost INTEGER)")
        connection.execute("CREATE TABLE balances (period TEXT, spent INTEGER, held INTEGER)")
        connection.executemany("INSERT INTO generations VALUES ('settled', ?)", [(nginx.COST_MICROS,)] * 2)
        connection.executemany("INSERT INTO balances VALUES (?, 80000, 0)", [("day",), ("month",)])
        connection.commit()
    return tmp_path


def test_a_ledger_that_adds_up_has_no_fault(data: Path) -> None:
    """What upstream worked on is settled, what is settled is spent, nothing is held."""
    assert ledger.read(data).faults(worked=2, answered=2) == ()


@pytest.mark.parametrize(
    "change",
    [
        "DELETE FROM generations WHERE rowid = 1",
        "INSERT INTO generations VALUES ('settled', 40000)",
        "INSERT INTO generations VALUES ('unknown', NULL)",
        "UPDATE generations SET cost = 39999 WHERE rowid = 1",
        "UPDATE balances SET held = 1 WHERE period = 'day'",
        "UPDATE balances SET spent = 1 WHERE period = 'month'",
    ],
)
def test_a_ledger_that_does_not_add_up_is_a_fault(data: Path, change: str) -> None:
    """One generation or one micro-yuan too many or too few is seen."""
    with closing(sqlite3.connect(data / DATABASE)) as connection:
        connection.execute(change)
        connection.commit()
    assert ledger.read(data).faults(worked=2, answered=2)


def test_what_is_added_is_held_against_direct_calls_of_the_same_load() -> None:
    """A gateway that takes 3 ms where upstream alone takes 2 adds 1, whatever upstream takes under other loads."""
    direct = (
        Pressed("link reply", "direct", "link", 1, _load(2)),
        Pressed("link reply", "direct", "link", 32, _load(9)),
    )
    figures = Figures((*direct, Pressed("pass on", "gateway", "link", 1, _load(3))))
    (target,) = targets(figures)
    assert (target.found, target.met) == ("1.00 ms", True)


def test_limits_are_held_against_the_same_load_without_them() -> None:
    """A gateway that answers 80 a second with limits on where it answers 100 without misses the target."""
    runs = tuple(
        Pressed(scenario, "gateway", "link", 32, Load(requests=rate, errors=0, seconds=1, p50_ms=1, p99_ms=1))
        for scenario, rate in (("pass on", 80), ("pass on, no limits", 100))
    )
    target = next(target for target in targets(Figures(runs)) if "without limits" in target.what)
    assert (target.found, target.met) == ("80%", False)


@pytest.mark.parametrize("scenario", ["decode and keep", "decode and keep in S3"])
def test_large_images_are_held_against_memory_and_stalls_too(scenario: str) -> None:
    """A run over 32 connections that is fast, but takes too much memory or stalls too long, misses those targets."""
    load = Load(requests=1000, errors=0, seconds=5, p50_ms=1, p99_ms=1)
    used = Used(cpu_us=1, peak_mb=251, others=0, stall_ms=20)
    run = Pressed(scenario, "gateway", "base64", 32, load, used)
    found = {target.what.rpartition(", ")[2]: target.met for target in targets(Figures((run,)))}
    assert found == {"32 connections": True, "peak memory": False, "longest stall": True}


def test_a_hit_is_held_against_its_own_targets() -> None:
    """Rate over 32 connections and median over one are targets each: one may be met and the other missed."""
    runs = (
        Pressed("cached hit", "gateway", "link", 1, _load(0.9)),
        Pressed("cached hit", "gateway", "link", 32, _load(9)),
    )
    found = {target.what: target.met for target in targets(Figures(runs))}
    assert found == {"cached hit, 32 connections": False, "cached hit, 1 connection, p50": True}


def test_an_error_is_a_fault_whatever_the_speed() -> None:
    """A run in which a request failed cannot pass."""
    failed = Load(requests=5000, errors=1, seconds=1, p50_ms=1, p99_ms=1)
    assert list(Figures((Pressed("pass on", "gateway", "link", 32, failed),)).faults())


def _load(p50_ms: float) -> Load:
    return Load(requests=100, errors=0, seconds=1, p50_ms=p50_ms, p99_ms=10)
