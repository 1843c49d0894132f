"""A budget is never overspent: not by concurrency, not by several processes, on either database."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from random import Random

import pytest

from tests.servers.gateway import Gateway
from tests.servers.simulator import simulator
from tests.servers.workers import PRICE, Answer, Caller, Team, callers, rows, running, standing, team

AT_ONCE = 200
FITTING = 25
"""So many generations at 0.04 yuan are 1.00 yuan."""


@pytest.fixture(params=["sqlite", "postgresql"])
def workers(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Team]:
    """Run two workers on each kind of database."""
    database = {"database_url": request.getfixturevalue("postgres_url")} if request.param == "postgresql" else {}
    with team(tmp_path, storage_url="none", **database) as serving:
        yield serving


def test_a_budget_is_spent_to_the_last_fen_and_not_beyond(workers: Team, count: Callable[[int, int], int]) -> None:
    """Of 200 requests at once at 0.04 yuan, a budget of 1.00 lets exactly 25 through; every other gets 402."""

    async def ask_all(keys: list[str]) -> list[list[Answer]]:
        async with callers(workers.gateway, AT_ONCE) as crowd:
            first = [await caller.ask(rich, "one of each worker's") for caller in crowd[:2]]
            assert [answer.status for answer in first] == [200, 200]
            return [await asyncio.gather(*(caller.ask(key, "[delay=0.2]") for caller in crowd)) for key in keys]

    windows = ["day", "month", "total"] * count(1, 3)
    keys = [
        workers.gateway.tenant(f"poor-{number}", **{f"budget_{window}": "1.00"})
        for number, window in enumerate(windows)
    ]
    rich = workers.gateway.tenant("rich")
    answers = asyncio.run(ask_all(keys))
    processes = rows(workers.gateway, "SELECT count(DISTINCT process_id) AS number FROM generations")
    assert processes == [{"number": 2}], "both workers took part"
    for number, each in enumerate(answers):
        statuses = Counter(answer.status for answer in each)
        spent, held = standing(workers.gateway, f"poor-{number}")[windows[number]]
        print(f"{windows[number]}: {dict(statuses)}, spent {spent / 1e6:.6f}, held {held / 1e6:.6f}")
        assert statuses == {200: FITTING, 402: AT_ONCE - FITTING}
        assert (spent, held) == (1_000_000, 0)
    fitting = FITTING * len(windows) + 2
    assert workers.simulator.stats()["calls"] == fitting
    assert workers.simulator.bill_total() * 1_000_000 == fitting * PRICE


def test_two_gateways_share_one_postgresql(tmp_path: Path, postgres_url: str, count: Callable[[int, int], int]) -> None:
    """Two gateways that reserve for the same tenants in whatever order: no deadlock, and no generation is lost."""
    number, tenants, each = count(600, 10_000), 20, 32
    shuffled = Random(20)  # noqa: S311 -- a test's choice
    plain = {"database_url": postgres_url, "storage_url": "none"}
    with ExitStack() as stack:
        upstream = stack.enter_context(simulator(tmp_path / "upstream", "--image", "none"))
        both = [stack.enter_context(running(tmp_path / name, upstream, **plain)) for name in ("one", "two")]
        keys = [both[0].tenant(f"team-{place}", budget_day="1000", budget_total="1000") for place in range(tenants)]
        asks = [keys[place % tenants] for place in range(number)]
        shuffled.shuffle(asks)
        asks.reverse()

        async def work(caller: Caller) -> list[int]:
            statuses = []
            while asks:
                statuses.append((await caller.ask(asks.pop())).status)
            return statuses

        async def press() -> Counter[int]:
            async with callers(both[0], each) as some, callers(both[1], each) as others:
                found = await asyncio.gather(*(work(caller) for caller in (*some, *others)))
            return Counter(status for statuses in found for status in statuses)

        began = time.monotonic()
        statuses = asyncio.run(press())
        took = time.monotonic() - began
        assert_nothing_lost(both[0], number)
        assert upstream.stats()["calls"] == number == len(upstream.bill())
        (deadlocks,) = rows(
            both[0], "SELECT sum(deadlocks) AS number FROM pg_stat_database WHERE datname = current_database()"
        )
        print(f"{number} generations over {tenants} tenants in {took:.1f} s: {deadlocks['number']} deadlocks")
        assert statuses == {200: number}
        assert deadlocks["number"] == 0
        assert not any("ledger" in gateway.log for gateway in both), "neither had to do without SQL for a moment"


def assert_nothing_lost(gateway: Gateway, number: int) -> None:
    """Show that so many generations are settled, none is anything else, and every balance is their sum."""
    states = rows(gateway, "SELECT state, count(*) AS number, sum(cost) AS cost FROM generations GROUP BY state")
    assert [(row["state"], row["number"], int(row["cost"])) for row in states] == [("settled", number, number * PRICE)]
    balances = rows(gateway, "SELECT period, sum(spent) AS spent, sum(held) AS held FROM balances GROUP BY period")
    found = {row["period"]: (int(row["spent"]), int(row["held"])) for row in balances}
    assert found == dict.fromkeys(("day", "month", "total"), (number * PRICE, 0))
