"""`GET /generations`: a tenant's history, newest first, in pages."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.servers.pair import Pair, pair

MADE = 7


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Run a gateway with a history: generations of two models, one refused, one lost, a hit with a row of its own."""
    with pair(tmp_path_factory.mktemp("history")) as two:
        for _ in range(3):
            assert two.post().status_code == 200
        assert two.post("[refuse]").status_code == 400
        assert two.post("[garbage]").status_code == 502
        assert two.post(model="gemini-2.5-flash-image").status_code == 200
        assert two.post(seed=7).status_code == 200
        assert "hit" in two.post(headers={"Idempotency-Key": "k"}, seed=7).headers["cache-status"]
        yield two


def ask(both: Pair, key: str | None = None, **query: str) -> httpx.Response:
    """Ask for a page, as the tenant that has the history unless a key is given."""
    headers = {"Authorization": f"Bearer {both.key if key is None else key}"}
    return both.gateway.http.get("/generations", headers=headers, params=query)


def page(both: Pair, **query: str) -> dict[str, Any]:
    """Return a page."""
    answer = ask(both, **query)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    assert body.keys() == {"rows", "next"}
    return body


def test_the_newest_comes_first(both: Pair) -> None:
    """Each generation is there once, with its state and cost; what was answered for free is not one."""
    rows = page(both)["rows"]
    assert [row["state"] for row in rows] == ["settled", "settled", "unknown", "released", *["settled"] * 3]
    assert [row["cost_yuan"] for row in rows] == ["0.040000", "0.020000", None, "0.000000", *["0.040000"] * 3]
    assert [row["id"] for row in rows] == sorted((row["id"] for row in rows), reverse=True)
    newest = rows[0]
    assert newest.keys() == {
        *("id", "state", "created_at", "model", "provider", "key", "user"),
        *("cost_yuan", "images_generated", "images_failed"),
    }
    assert (newest["model"], newest["images_generated"], newest["user"]) == ("flux-2-pro", 1, None)
    one = both.gateway.http.get(f"/generations/{newest['id']}", headers={"Authorization": f"Bearer {both.key}"}).json()
    assert {name: one[name] for name in one.keys() & newest.keys()} == {
        name: newest[name] for name in one.keys() & newest.keys()
    }


def test_pages_are_the_whole(both: Pair) -> None:
    """`next` leads from page to page, to the last; what begins meanwhile is on none of them, and moves nothing."""
    whole = page(both)
    assert (len(whole["rows"]), whole["next"]) == (MADE, None)
    got, query = [], {"limit": "3"}
    for length in (3, 3, 1):
        one = page(both, **query)
        assert len(one["rows"]) == length
        got += one["rows"]
        query["after"] = one["next"] or "the last"
    assert (got, query["after"]) == (whole["rows"], "the last")
    assert page(both, limit=str(MADE))["next"] is None


def test_it_can_be_narrowed(both: Pair) -> None:
    """By model, by state, by days, and by all of them."""
    days = {"from": "2020-01-01", "to": "9999-12-31"}
    assert len(page(both, model="flux-2-pro")["rows"]) == MADE - 1
    assert len(page(both, model="gemini-2.5-flash-image", state="settled", **days)["rows"]) == 1
    assert [row["state"] for row in page(both, state="unknown")["rows"]] == ["unknown"]
    assert page(both, model="nothing") == {"rows": [], "next": None}
    assert len(page(both, **{"from": "0001-01-01"})["rows"]) == MADE
    assert page(both, to="0001-01-01")["rows"] == []
    assert page(both, to="2020-12-31") == page(both, **{"from": "9999-12-31"}) == {"rows": [], "next": None}
    assert page(both, **{"from": "2020-01-01", "to": "2020-01-01"})["rows"] == []


def test_it_is_nobody_elses(both: Pair) -> None:
    """Another tenant sees nothing of it, another key of the tenant all of it, and nobody is told nothing."""
    assert ask(both, both.gateway.tenant("stranger")).json() == {"rows": [], "next": None}
    assert len(ask(both, both.gateway.key("team")).json()["rows"]) == MADE
    assert ask(both, "igw_sk_nobody").status_code == 401


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ({"state": "lost"}, "state: must be one of reserved, settled, released, unknown"),
        ({"from": "yesterday"}, "from: must be a day such as 2026-11-01"),
        ({"from": "2026-11-02", "to": "2026-11-01"}, "to: must not be before the first day, 2026-11-02"),
        ({"limit": "101"}, "limit: must be a whole number between 1 and 100"),
        ({"limit": "٣"}, "limit: must be a whole number between 1 and 100"),
        ({"before": "x"}, "Invalid before parameter. Supported parameters: model, state, from, to, limit, after"),
    ],
)
def test_what_cannot_be_asked_is_refused(both: Pair, query: dict[str, str], text: str) -> None:
    """A refusal names the parameter and what is allowed."""
    answer = ask(both, **query)
    assert (answer.status_code, answer.json()) == (400, {"code": -1, "msg": text})
