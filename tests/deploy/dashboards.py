"""The dashboards as a program reads them: their panels, and the queries in them with the variables filled in."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[2] / "deploy" / "grafana"
BOARDS = ("spend", "operations")


@dataclass(frozen=True, slots=True)
class Query:
    """A query of a panel. An instant one is asked for its value now, any other for its course."""

    expression: str
    legend: str
    instant: bool

    def filled(self, values: Mapping[str, str]) -> str:
        """Return the expression with the variables replaced, longest name first."""
        text = self.expression
        for name in sorted(values, key=len, reverse=True):
            text = text.replace(f"${name}", values[name])
        assert "$" not in text, text
        return text


@dataclass(frozen=True, slots=True)
class Panel:
    """A panel: `raw` is its JSON."""

    title: str
    kind: str
    queries: tuple[Query, ...]
    raw: dict[str, Any]


def board(name: str) -> dict[str, Any]:
    """Return a dashboard's JSON."""
    found: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text())
    return found


def panels(name: str) -> Iterator[Panel]:
    """Yield the panels of a dashboard, its rows too, from top to bottom."""
    for raw in board(name)["panels"]:
        queries = tuple(
            Query(target["expr"], target["legendFormat"], target.get("instant", False))
            for target in raw.get("targets", ())
        )
        yield Panel(raw["title"], raw["type"], queries, raw)


def values(*, interval: str, span: str) -> dict[str, str]:
    """Return what the variables stand for when everything is chosen; `span` is the time shown."""
    everything = dict.fromkeys(("tenant", "model", "instance"), ".*")
    return everything | {"job": "gateway", "__rate_interval": interval, "__range": span}


def offered(name: str) -> Iterator[tuple[str, str]]:
    """Yield each variable that is filled from Prometheus: the label, and the series that have it."""
    for variable in board(name)["templating"]["list"]:
        if variable["type"] == "query":
            found = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"]["query"])
            assert found is not None, variable["name"]
            yield found[2], found[1]
