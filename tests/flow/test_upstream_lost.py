"""When no usable answer comes: the outcome is unknown, the hold stays, nothing is tried again."""

import time
from collections.abc import Iterator

import pytest

from tests.servers.gateway import gateway
from tests.servers.pair import Pair, pair
from tests.servers.ports import free_port

UNKNOWN_LOST = "The connection to the image provider was lost; the outcome is unknown"
UNKNOWN_SILENT = "The image provider did not answer in time; the outcome is unknown"
FAILED = "The image provider failed to answer properly"
QUOTE = 213_000


@pytest.fixture(scope="module")
def brisk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Give a gateway that waits for upstream no longer than a second."""
    with pair(tmp_path_factory.mktemp("brisk"), upstream_timeout="1") as both:
        yield both


@pytest.mark.parametrize(
    ("fault", "status", "text"),
    [
        ("garbage", 502, FAILED),
        ("deep", 502, FAILED),
        ("status=302", 502, FAILED),
        ("cut", 502, UNKNOWN_LOST),
        ("close", 502, UNKNOWN_LOST),
        ("huge=70", 502, None),
        ("silence", 504, UNKNOWN_SILENT),
        ("delay=3", 504, UNKNOWN_SILENT),
        ("drip=5", 504, UNKNOWN_SILENT),
    ],
)
def test_an_outcome_that_is_not_known_keeps_its_hold(brisk: Pair, fault: str, status: int, text: str | None) -> None:
    """Garbage, cuts and silence are 502 or 504 that must not be repeated; the quote stays held, the call was one."""
    held, calls = brisk.gateway.held(), brisk.simulator.stats()["calls"]
    counted = brisk.gateway.metric("gateway_cost_yuan_total")
    answer = brisk.post(f"[{fault}]")
    assert answer.status_code == status, answer.text
    assert answer.json()["code"] == -1
    if text is not None:
        assert answer.json()["msg"] == text
    assert answer.headers["x-should-retry"] == "false"
    row = brisk.gateway.generation(answer.headers["x-generation-id"])
    assert (row["state"], row["bill"], row["cost"], row["quote"]) == ("unknown", "unknown", None, QUOTE)
    assert brisk.gateway.held() == held + QUOTE
    assert brisk.simulator.stats()["calls"] == calls + 1
    assert brisk.gateway.metric("gateway_cost_yuan_total") == counted


@pytest.mark.parametrize("fault", ["garbage", "status=502 garbage", "status=500 refuse=Traceback in internal.host"])
def test_what_upstream_blurts_out_is_nobodys_business(brisk: Pair, fault: str) -> None:
    """A proxy's page or a server's own words reach neither the caller nor, as a page, the log or the ledger."""
    answer = brisk.post(f"[{fault}]")
    assert answer.status_code == 502
    assert answer.json() == {"code": -1, "msg": FAILED}
    stored = b"".join(path.read_bytes() for path in brisk.gateway.data_dir.glob("gateway.sqlite3*"))
    assert b"<h1>502 Bad Gateway</h1>" not in stored
    assert "<h1>502 Bad Gateway</h1>" not in brisk.gateway.log


def test_a_hold_that_stays_counts_against_the_budget(brisk: Pair) -> None:
    """A budget of two quotes is used up by two unknown generations, and by two settled ones it is not."""
    key = brisk.gateway.tenant("thrifty", budget_total="0.43")
    assert brisk.gateway.post(key, prompt="fine").status_code == 200
    assert brisk.gateway.post(key, prompt="[close]").status_code == 502
    answer = brisk.gateway.post(key, prompt="no more")
    assert answer.status_code == 402
    assert answer.json()["msg"].startswith("The total budget of 0.430000 yuan is exhausted: 0.177000 left")
    assert answer.headers["x-should-retry"] == "false"


def test_nobody_listening_is_free(tmp_path_factory: pytest.TempPathFactory) -> None:
    """An upstream to which no connection can be made is 503 with Retry-After, released and free."""
    nowhere = f"http://127.0.0.1:{free_port()}"
    with gateway(tmp_path_factory.mktemp("nowhere"), upstream=nowhere, keys=("some-upstream-key",)) as serving:
        begun = time.monotonic()
        answer = serving.post(serving.tenant("team"))
        assert (answer.status_code, answer.json()["msg"]) == (503, "The image provider could not be reached")
        assert int(answer.headers["retry-after"]) >= 1
        assert time.monotonic() - begun < 15
        row = serving.generation(answer.headers["x-generation-id"])
        assert (row["state"], row["bill"], row["cost"]) == ("released", "free", 0)
        assert serving.held() == 0


def test_another_account_takes_over_from_one_that_is_refused(tmp_path_factory: pytest.TempPathFactory) -> None:
    """With two keys one may be refused: the other is used at once, and the refused one is left alone for a while."""
    with pair(tmp_path_factory.mktemp("two"), keys=("first-upstream-key", "second-upstream-key")) as both:
        both.simulator.go_wrong({"match": {"account": 0}, "fault": {"key-error": True}})
        for _ in range(4):
            assert both.post().status_code == 200
        assert {line.account for line in both.simulator.bill()} == {"1"}
        assert sum(call["account"] == "0" for call in both.simulator.calls()) == 1
        assert both.gateway.metric("gateway_upstream_breaker_open", account="0") == 1
        assert both.gateway.metric("gateway_upstream_breaker_open", account="1") == 0
        rows = both.gateway.rows("SELECT DISTINCT account FROM generations")
        assert rows == [{"account": "1"}]


def test_a_breaker_opens_after_ten_silences_in_a_row(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Then callers are told at once, free of charge, instead of each waiting for the time-out."""
    with pair(tmp_path_factory.mktemp("broken"), upstream_timeout="0.2") as both:
        for _ in range(10):
            assert both.post("[silence]").status_code == 504
        calls, held = both.simulator.stats()["calls"], both.gateway.held()
        answer = both.post()
        assert (answer.status_code, "retry-after" in answer.headers) == (503, True)
        assert both.simulator.stats()["calls"] == calls
        assert both.gateway.held() == held
        assert both.gateway.metric("gateway_upstream_breaker_open", account="0") == 1
