"""The dashboards as files: what Grafana takes, nothing tied to one installation, nothing that does not exist."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from tests.deploy import dashboards
from tests.deploy.names import metrics_in, metrics_of_the_gateway
from tests.deploy.test_alerts import RECORDED, ROOT, rules

CONTAINERS = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
PROVIDER = ROOT / "deploy/grafana/provisioning/dashboards/gateway.yml"


def unknown_to_grafana(ours: Any, theirs: Any, path: str = "") -> Iterator[str]:
    """Yield what is not as we wrote it when Grafana's own types have read it and written it again."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for name, value in ours.items():
            if name in theirs:
                yield from unknown_to_grafana(value, theirs[name], f"{path}.{name}")
            else:
                yield f"{path}.{name}"
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for place, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            yield from unknown_to_grafana(one, other, f"{path}[{place}]")
    elif ours != theirs:
        yield f"{path}: {ours!r} became {theirs!r}"


@pytest.mark.parametrize("name", dashboards.BOARDS)
def test_grafana_knows_every_member(name: str) -> None:
    """Read and written again by the types that Grafana publishes, nothing is lost or another thing."""
    register_default_plugins()
    ours = dashboards.board(name)
    theirs = json.loads(JSONEncoder().encode(Dashboard.from_json(ours)))
    assert list(unknown_to_grafana(ours, theirs)) == []


@pytest.mark.parametrize("name", dashboards.BOARDS)
def test_nothing_is_tied_to_one_installation(name: str) -> None:
    """Every panel takes the data source that is chosen, every id is its own, and no panel covers another."""
    board = dashboards.board(name)
    sources = {json.dumps(one) for one in _members(board, "datasource") if one != "prometheus"}
    assert sources == {'{"type": "prometheus", "uid": "${datasource}"}'}
    assert "id" not in board
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids))
    covered = [
        (x, y)
        for place in (panel["gridPos"] for panel in board["panels"])
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(covered) == len(set(covered))
    assert max(x for x, _ in covered) == 23


@pytest.mark.parametrize("name", dashboards.BOARDS)
def test_every_panel_says_what_it_shows_of_what_exists(name: str) -> None:
    """It has a description, and asks for metrics of the gateway and for recorded series."""
    known = metrics_of_the_gateway() | RECORDED | {"up"}
    named: set[str] = set()
    for panel in dashboards.panels(name):
        if panel.kind != "row":
            assert panel.queries, panel.title
            assert panel.raw["description"].endswith("."), panel.title
        for query in panel.queries:
            named |= metrics_in(query.expression)
    assert named <= known
    print(f"{name}: {len(named)} of {len(known)} series")


def test_no_metric_is_left_unseen() -> None:
    """Each metric of the gateway is on a dashboard or in an alert, so that nobody counts what nobody looks at."""
    panels = [panel for name in dashboards.BOARDS for panel in dashboards.panels(name)]
    expressions = [query.expression for panel in panels for query in panel.queries]
    expressions += [rule["expr"] for rule in (*rules("rules.yml"), *rules("alerts.yml"))]
    seen = {re.sub("_(bucket|count|sum)$", "", name) for text in expressions for name in metrics_in(text)}
    assert {re.sub("_(bucket|count|sum)$", "", name) for name in metrics_of_the_gateway()} <= seen


def test_grafana_finds_them_where_they_are_mounted() -> None:
    """What the provider reads is where the containers have the dashboards."""
    (provider,) = yaml.safe_load(PROVIDER.read_text())["providers"]
    mounted = {volume.split(":")[0]: volume.split(":")[1] for volume in CONTAINERS["grafana"]["volumes"]}
    for name in dashboards.BOARDS:
        assert mounted[f"./deploy/grafana/{name}.json"] == f"{provider['options']['path']}/{name}.json"
    assert "./deploy/prometheus:/etc/prometheus:ro" in CONTAINERS["prometheus"]["volumes"]


def _members(value: Any, name: str) -> Iterator[Any]:
    """Yield every member of this name, however deep."""
    if isinstance(value, dict):
        if name in value:
            yield value[name]
        for inner in value.values():
            yield from _members(inner, name)
    elif isinstance(value, list):
        for inner in value:
            yield from _members(inner, name)
