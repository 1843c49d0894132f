"""One line of the log a request, by which it is found again and which says how it went."""

from typing import Any
from urllib.parse import urlsplit

import httpx
import orjson
import pytest

from gateway.data_dir import IMAGES
from tests.servers.pair import Pair
from tests.servers.process import wait_until

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def line_of(both: Pair, answer: httpx.Response) -> dict[str, Any]:
    """Return the line of an answered request. It is written after the answer is sent."""
    found: list[dict[str, Any]] = []

    def look() -> bool:
        found[:] = [
            line
            for text in both.gateway.log.splitlines()
            if (line := orjson.loads(text)).get("request_id") == answer.headers["x-request-id"]
        ]
        return bool(found)

    wait_until(look, "the line")
    assert len(found) == 1
    return found[0]


def test_a_generation_is_told_whole(shared: Pair) -> None:
    """Who, what, what it cost, how long it took and whose time that was, and where it is found in the ledger."""
    headers = {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01", "X-Request-Id": "caller.s-own"}
    answer = shared.post("a lake", headers, seed=5150)
    line = line_of(shared, answer)
    assert line.keys() == {
        *("event", "level", "timestamp", "method", "path", "status", "request_id", "trace_id", "seconds"),
        *("tenant", "key", "model", "outcome", "generation", "cost_yuan", "images", "cache"),
        *("upstream_seconds", "overhead_seconds"),
    }
    row = shared.gateway.generation(line["generation"])
    assert (line["event"], line["status"], line["outcome"], line["tenant"]) == ("request", 200, "generated", "team")
    assert (line["request_id"], line["trace_id"]) == ("caller.s-own", TRACE)
    assert (line["key"], line["cost_yuan"]) == (row["key_id"], f"{row['cost'] / 1e6:.6f}")
    assert line["cache"] == "uri-miss"
    assert line["upstream_seconds"] + line["overhead_seconds"] <= line["seconds"]


def test_what_is_not_known_is_left_out(shared: Pair) -> None:
    """A hit was made by nobody and costs nothing; what was lost has no cost, what was refused was free."""
    shared.post("twice", seed=5151)
    hit = line_of(shared, shared.post("twice", seed=5151))
    assert (hit["outcome"], hit["cache"], hit["cost_yuan"]) == ("hit", "hit", "0.000000")
    assert "upstream_seconds" not in hit
    lost = line_of(shared, shared.post("lost [cut]"))
    assert (lost["status"], lost["outcome"]) == (502, "upstream_error")
    assert "cost_yuan" not in lost
    assert shared.gateway.generation(lost["generation"])["state"] == "unknown"
    refused = line_of(shared, shared.post("no [refuse]"))
    assert (refused["outcome"], refused["cost_yuan"]) == ("refused", "0.000000")
    billed = line_of(shared, shared.post("nothing [no-images]"))
    assert (billed["outcome"], billed["status"]) == ("upstream_error", 502)
    assert float(billed["cost_yuan"]) > 0
    unknown = line_of(shared, shared.gateway.http.post("/images/generate", json={}))
    assert (unknown["outcome"], unknown["tenant"]) == ("unauthorized", None)
    assert "trace_id" not in unknown


def test_a_prompt_is_logged_only_where_the_tenant_wants_it(shared: Pair) -> None:
    """That a prompt is kept in the ledger does not put it into the log; the policy that says so does."""
    assert "prompt" not in line_of(shared, shared.post("quokka in the ledger"))
    key = shared.gateway.tenant("talkative", log_prompts="yes")
    assert line_of(shared, shared.gateway.post(key, prompt="wombat " * 1000))["prompt"] == ("wombat " * 1000)[:4096]
    assert "quokka" not in shared.gateway.log


def test_an_image_that_goes_while_it_is_read_is_no_bug(shared: Pair) -> None:
    """Its answer is cut, so that nobody takes it for whole, and the line of the request says why."""
    link = shared.post("a mayfly").json()["data"][0]["image"]
    name = urlsplit(link).path.rpartition("/")[2]
    path = next((shared.gateway.data_dir / IMAGES).rglob(name))
    with path.open("r+b") as large:
        large.truncate(64 << 20)
    with shared.gateway.http.stream("GET", link) as answer:
        path.unlink()
        with pytest.raises(httpx.RemoteProtocolError):
            answer.read()
    line = line_of(shared, answer)
    assert (line["event"], line["status"]) == ("request", 200)
    assert line["reason"].startswith("the answer was cut: ")
