"""A gateway of two workers under a real Prometheus: the rules and the dashboards find what they ask for."""

import asyncio
import math
from collections.abc import Iterator

import pytest

from gateway.money import MICROS_PER_YUAN
from tests.deploy import dashboards
from tests.deploy.monitored import Monitored, Traffic, monitored
from tests.deploy.test_alerts import RECORDED
from tests.servers.process import wait_until

MAY_BE_EMPTY = {("spend", "Price drift"), ("operations", "Deliveries"), ("operations", "Events waiting")}
"""Panels (dashboard, title) that may have nothing to show: the ledger is looked at every ten seconds; nobody here has
a webhook."""

FIRING = {"GatewayKeepFailures", "GatewayUnusableCosts"}
MAY_FIRE = {"GatewayBudgetExhausted"}
"""Alerts of what the traffic does; the last one when a look at the budgets comes in time."""

EVALUATED = (
    *RECORDED,
    "tenant_window:gateway_budget_lasts_seconds:rate6h < Inf",
    *(f'ALERTS{{alertname="{name}",alertstate="firing"}}' for name in FIRING),
)
"""What there is once the rules have seen the traffic."""


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Monitored]:
    """Share a gateway that had all kinds of requests, twice: a rate is the difference of two scrapes."""
    with monitored(tmp_path_factory.mktemp("watched")) as one:
        statuses: set[int] = set()
        for _ in range(2):
            statuses |= set(asyncio.run(Traffic(one).burst()))
            wait_until(lambda: abs(counted(one) - settled(one)) < 1e-9, "Prometheus to have what the ledger has")
        wait_until(lambda: all(one.prometheus.now(asked) for asked in EVALUATED), "the rules to have seen it")
        assert statuses == {200, 400, 402, 429, 502}
        yield one


def counted(one: Monitored) -> float:
    """Return the yuan that Prometheus has."""
    found = one.prometheus.now("sum(gateway_cost_yuan_total)")
    return found[0].value if found else 0.0


def settled(one: Monitored) -> float:
    """Return the yuan that the ledger has."""
    (row,) = one.gateway.rows("SELECT sum(cost) AS cost FROM generations WHERE state = 'settled'")
    return int(row["cost"]) / MICROS_PER_YUAN


def test_the_gateway_is_found(watched: Monitored) -> None:
    """Prometheus scrapes it as the job that the rules are about."""
    (target,) = watched.prometheus.targets()
    assert target["health"] == "up", target["lastError"]
    assert target["labels"]["job"] == "gateway"
    print(f"a scrape takes {target['lastScrapeDuration'] * 1000:.0f} ms")


def test_every_rule_finds_something(watched: Monitored) -> None:
    """No rule fails, every recorded series has values, and of the alerts those fire that should."""
    rules = watched.prometheus.rules()
    assert {rule["name"]: rule.get("lastError") for rule in rules if rule["health"] != "ok"} == {}
    recorded = {rule["name"] for rule in rules if rule["type"] == "recording"}
    assert {name for name in recorded if not watched.prometheus.now(name)} == set()
    firing = {rule["name"] for rule in rules if rule.get("state") == "firing"}
    assert FIRING <= firing <= FIRING | MAY_FIRE
    print(f"{len(recorded)} recorded series, {len(rules)} rules, firing: {', '.join(sorted(firing))}")


def test_every_panel_shows_something(watched: Monitored) -> None:
    """Each query of both dashboards returns numbers, or is known to find nothing yet."""
    values = dashboards.values(interval="1m", span="5m")
    empty, asked = set(), 0
    for name in dashboards.BOARDS:
        for panel in dashboards.panels(name):
            for query in panel.queries:
                asked += 1
                found = watched.prometheus.now(query.filled(values))
                if not found or all(math.isnan(one.value) for one in found):
                    empty.add((name, panel.title))
    assert empty <= MAY_BE_EMPTY
    print(f"{asked} queries of {len(dashboards.BOARDS)} dashboards")


def test_every_variable_offers_something(watched: Monitored) -> None:
    """What the lists of a dashboard are filled from has the labels that they ask for."""
    for name in dashboards.BOARDS:
        for label, metric in dashboards.offered(name):
            found = watched.prometheus.now(metric.replace("$job", "gateway"))
            assert {one.labels.get(label) for one in found} - {None}, f"{name}: {label}"
