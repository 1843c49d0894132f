"""`GET /usage`: what a tenant spent and saved, for that tenant alone."""

import csv
import io
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import orjson
import pytest

from tests.servers.pair import Pair, pair
from tests.servers.process import wait_until

ZONE = "Pacific/Kiritimati"
"""The first zone to see a day: most of the time it is another one there than in UTC, and than in the default zone."""


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Run a gateway on whose books there is one of each: paid, lost, refused, a hit, a repeat, and another tenant's."""
    with pair(tmp_path_factory.mktemp("usage"), timezone=ZONE) as two:
        assert two.post(seed=7).status_code == 200
        hit = two.post(seed=7)
        assert "hit" in hit.headers["cache-status"]
        for replayed in (None, "true"):
            assert two.post(headers={"Idempotency-Key": "k"}).headers.get("idempotent-replayed") == replayed
        assert two.post(model="gemini-2.5-flash-image").status_code == 200
        assert two.post("[refuse]").status_code == 400
        assert two.post("[garbage]").status_code == 502
        assert two.gateway.post(two.gateway.tenant("other")).status_code == 200
        yield two


def ask(both: Pair, key: str | None = None, **query: str) -> httpx.Response:
    """Ask for a report, as the tenant that spent unless a key is given."""
    headers = {"Authorization": f"Bearer {both.key if key is None else key}"}
    return both.gateway.http.get("/usage", headers=headers, params=query)


def rows(both: Pair, **query: str) -> list[dict[str, Any]]:
    """Return the rows of a report."""
    answer = ask(both, **query)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body.keys() == {"rows"}
    found: list[dict[str, Any]] = body["rows"]
    return found


def test_a_tenant_sees_what_it_spent_and_saved(both: Pair) -> None:
    """Settled cost, outcomes, images and what was free are exact; hits are there within seconds."""
    wait_until(lambda: sum(row["replayed"] for row in rows(both)) == 1, "what was saved to be written")
    assert rows(both) == [
        {
            "model": "flux-2-pro",
            "cost_yuan": "0.080000",
            "generations": 4,
            "settled": 2,
            "released": 1,
            "reserved": 0,
            "unknown": 1,
            "unknown_yuan": "0.213000",
            "images_generated": 2,
            "images_failed": 0,
            "hits": 1,
            "collapsed": 0,
            "replayed": 1,
            "saved_yuan": "0.040000",
        },
        {
            "model": "gemini-2.5-flash-image",
            "cost_yuan": "0.020000",
            "generations": 1,
            "settled": 1,
            "released": 0,
            "reserved": 0,
            "unknown": 0,
            "unknown_yuan": "0.000000",
            "images_generated": 1,
            "images_failed": 0,
            "hits": 0,
            "collapsed": 0,
            "replayed": 0,
            "saved_yuan": "0.000000",
        },
    ]
    assert both.gateway.metric("gateway_cost_saved_yuan_total", tenant="team") == pytest.approx(0.04)


def test_days_are_local(both: Pair) -> None:
    """A day begins at midnight of GATEWAY_TIMEZONE; the range includes both its ends, this month by default."""
    today = datetime.now(ZoneInfo(ZONE)).date().isoformat()
    assert [row["day"] for row in rows(both, by="day")] == [today]
    assert [row["day"] for row in rows(both, by="day", **{"from": today, "to": today})] == [today]
    assert rows(both, **{"from": "2020-01-01", "to": "2020-12-31"}) == []
    assert rows(both, to="9999-12-31") != []


def test_one_tenant_does_not_see_another(both: Pair) -> None:
    """Keys and sums are the caller's tenant's; there is no grouping by tenant here."""
    assert [row["cost_yuan"] for row in rows(both, by="key")] == ["0.100000"]
    assert [row["user"] for row in rows(both, by="user")] == [None]
    refused = ask(both, by="tenant")
    assert (refused.status_code, refused.json()["msg"]) == (400, "by: must be one of day, model, provider, key, user")
    assert ask(both, "igw_sk_nobody").status_code == 401


def test_a_report_is_csv_if_asked(both: Pair) -> None:
    """The same figures under the same names, one line a group, to be saved as a file."""
    answer = ask(both, format="csv", to="2999-12-31")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"].endswith('-2999-12-31.csv"')
    lines = list(csv.DictReader(io.StringIO(answer.text, newline="")))
    assert lines == [{name: str(value) for name, value in row.items()} for row in rows(both)]


def test_a_long_report_comes_in_pages(both: Pair) -> None:
    """The header Link of a page leads to the next one, up to the last."""
    link = f"{both.gateway.url}/usage?by=model&limit=1"
    headers = {"Authorization": f"Bearer {both.key}"}
    models: list[str] = []
    while link:
        answer = both.gateway.http.get(link, headers=headers)
        (row,) = answer.json()["rows"]
        models.append(row["model"])
        link = str(answer.url.join(answer.links["next"]["url"])) if "next" in answer.links else ""
    assert models == [row["model"] for row in rows(both)]


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ({"by": "moon"}, "by: must be one of day, model, provider, key, user"),
        ({"from": "yesterday"}, "from: must be a day such as 2026-11-01"),
        ({"to": "2026-02-30"}, "to: must be a day such as 2026-11-01"),
        ({"from": "2026-11-02", "to": "2026-11-01"}, "to: must not be before the first day, 2026-11-02"),
        ({"format": "xml"}, "format: must be one of json, csv"),
        ({"limit": "0"}, "limit: must be a whole number between 1 and 10000"),
        ({"limit": "10001"}, "limit: must be a whole number between 1 and 10000"),
        ({"tenant": "other"}, "Invalid tenant parameter. Supported parameters: from, to, by, format, limit, after"),
    ],
)
def test_what_cannot_be_asked_is_refused(both: Pair, query: dict[str, str], text: str) -> None:
    """A refusal names the parameter and what is allowed."""
    answer = ask(both, **query)
    assert (answer.status_code, answer.json()) == (400, {"code": -1, "msg": text})


def test_what_was_saved_is_written_before_the_gateway_stops(tmp_path: Path) -> None:
    """A drain writes the counts of its last second."""
    with pair(tmp_path) as two:
        assert two.post(seed=7).status_code == 200
        for _ in range(3):
            assert two.post(seed=7).status_code == 200
        assert two.gateway.stop() == 0
        printed = two.gateway.cli("spend", "--format=json", "--by=user")
        (row,) = orjson.loads(printed.stdout)["rows"]
        assert (row["hits"], row["saved_yuan"]) == (3, "0.120000")
