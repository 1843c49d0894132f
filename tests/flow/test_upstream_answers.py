"""What an answer of upstream's means for the caller, the ledger and the money: complete answers, right and wrong."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest

from gateway.money import MICROS_PER_YUAN
from tests.servers.gateway import Gateway
from tests.servers.pair import Pair

FLUX_QUOTE = 213_000
"""What the shipped catalog says that 64x64 may cost, in micro-yuan: one megapixel at 0.03 USD."""


@dataclass(frozen=True, slots=True)
class Books:
    """What the money looks like; two of them tell what one request changed."""

    billed: Decimal
    settled: Decimal
    counted: float
    held: int

    @classmethod
    def of(cls, both: Pair) -> "Books":
        """Look."""
        counted = both.gateway.metric("gateway_cost_yuan_total")
        return cls(both.simulator.bill_total(), both.settled(), counted, both.gateway.held())


def newest(serving: Gateway) -> dict[str, Any]:
    """Return the newest generation in the ledger."""
    return serving.rows("SELECT * FROM generations ORDER BY id DESC LIMIT 1")[0]


@pytest.mark.parametrize(
    "fault",
    [
        "",
        "[status=201]",
        "[success-500]",
        "[string-code]",
        "[single-object]",
        "[url-key]",
        "[no-type]",
        "[b64_json]",
        "[data-prefix]",
        "[unpadded]",
        "[wrapped]",
        "[string-code single-object url-key no-type]",
        '[cost="0.04"]',
        "[cost=4e-2]",
        "[cost=0.0400001]",
        "[cost=0]",
        "[model=flux-2-pro-preview]",
    ],
)
def test_an_image_is_a_success_however_it_is_wrapped(shared: Pair, fault: str) -> None:
    """An answer with an image is 200 and settled at its cost, whatever its status, code, types and member names."""
    before = Books.of(shared)
    answer = shared.post(f"a boat {fault}")
    assert answer.status_code == 200, answer.text
    (image,) = answer.json()["data"]
    kept = shared.gateway.http.get(image["image"])
    assert kept.status_code == 200
    row = shared.gateway.generation(answer.headers["x-generation-id"])
    assert (row["state"], row["bill"]) == ("settled", "exact")
    after = Books.of(shared)
    cost = Decimal(row["cost"]) / MICROS_PER_YUAN
    assert after.settled - before.settled == cost == Decimal(answer.headers["x-cost-yuan"])
    assert after.billed - before.billed == cost
    assert after.counted - before.counted == pytest.approx(float(cost), abs=1e-9)
    assert after.held == before.held


def test_the_model_that_answered_is_passed_on_beside_the_one_that_was_asked(shared: Pair) -> None:
    """The reply names the model that upstream used; the ledger has both."""
    answer = shared.post("[model=flux-2-pro-preview]")
    assert answer.json()["model"] == "flux-2-pro-preview"
    row = newest(shared.gateway)
    assert (row["model"], row["answered_model"]) == ("flux-2-pro", "flux-2-pro-preview")


@pytest.mark.parametrize(
    "fault", ["no-usage", 'cost="free"', "cost=-1", "cost=NaN", "cost=true", "cost=1e999", "cost=9999"]
)
def test_without_a_usable_cost_the_quote_is_settled(shared: Pair, fault: str) -> None:
    """Work whose cost is missing, no number or absurd is settled at its quote, said so, and raises an alarm."""
    before = Books.of(shared)
    alarms = shared.gateway.metric("gateway_unusable_costs_total")
    answer = shared.post(f"[{fault}]")
    assert (answer.status_code, answer.headers["x-cost-yuan"]) == (200, "0.213000")
    assert answer.json()["usage"]["cost"] == 0.213
    row = newest(shared.gateway)
    assert (row["state"], row["bill"], row["cost"]) == ("settled", "quoted", FLUX_QUOTE)
    assert shared.gateway.metric("gateway_unusable_costs_total") == alarms + 1
    assert Books.of(shared).counted - before.counted == pytest.approx(0.213, abs=1e-9)
    assert Books.of(shared).held == before.held


def test_what_is_usable_is_given_and_the_rest_is_counted(shared: Pair) -> None:
    """One image and one null are one image and one failure, in the reply, the ledger and the metrics."""
    failed = shared.gateway.metric("gateway_images_total", outcome="failed")
    answer = shared.post("[partial]")
    assert answer.status_code == 200
    assert len(answer.json()["data"]) == 1
    assert answer.json()["usage"] == {"cost": 0.04, "images_generated": 1, "images_failed": 1}
    assert (newest(shared.gateway)["images_generated"], newest(shared.gateway)["images_failed"]) == (1, 1)
    assert shared.gateway.metric("gateway_images_total", outcome="failed") == failed + 1


def test_several_images_are_all_given(shared: Pair) -> None:
    """An answer of six images is six kept images, in upstream's order."""
    answer = shared.post("[images=6]")
    digests = [image.sha256 for image in shared.simulator.bill()[-1].images]
    assert len(answer.json()["data"]) == len(digests) == 6
    rows = shared.gateway.rows(
        "SELECT sha256 FROM images WHERE generation_id = ? ORDER BY position", answer.headers["x-generation-id"]
    )
    assert [row["sha256"] for row in rows] == digests


@pytest.mark.parametrize(
    ("fault", "bill", "cost"), [("no-images", "exact", 40_000), ("no-images no-usage", "quoted", FLUX_QUOTE)]
)
def test_work_without_an_image_is_paid_and_answered_502(shared: Pair, fault: str, bill: str, cost: int) -> None:
    """A success without a usable image settles its cost, or the quote, although the caller gets nothing."""
    answer = shared.post(f"[{fault}]")
    assert answer.status_code == 502
    assert answer.json() == {"code": -1, "msg": "The image provider returned no usable image"}
    row = newest(shared.gateway)
    assert (row["state"], row["bill"], row["cost"]) == ("settled", bill, cost)
    assert row["id"] == answer.headers["x-generation-id"]


@pytest.mark.parametrize("fault", ["bad-image", "bad-image data-prefix"])
def test_bytes_that_are_no_image_are_paid_and_answered_502(shared: Pair, fault: str) -> None:
    """What is no image is not kept, whatever it was called; it was billed all the same."""
    failures = shared.gateway.metric("gateway_keep_failures_total", cause="image")
    answer = shared.post(f"[{fault}]")
    assert (answer.status_code, answer.json()["code"]) == (502, -1)
    assert newest(shared.gateway)["cost"] == 40_000
    assert shared.gateway.metric("gateway_keep_failures_total", cause="image") == failures + 1


def test_the_bytes_decide_what_an_image_is(shared: Pair) -> None:
    """JPEG bytes that upstream calls image/png are kept, named and served as JPEG."""
    answer = shared.post("[wrong-mime]", model="gemini-2.5-flash-image")
    kept = shared.gateway.http.get(answer.json()["data"][0]["image"])
    assert kept.headers["content-type"] == "image/jpeg"
    assert kept.content.startswith(b"\xff\xd8\xff")


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        ("refuse", "Request Moderated"),
        ("refuse=内容审核未通过", "内容审核未通过"),
        ("status=400 refuse=Invalid width parameter. Too wide", "Invalid width parameter. Too wide"),
        ("status=422 refuse=No such size", "No such size"),
        ("code=-1 msg-in=message refuse=Not that", "Not that"),
        ("code=1234 msg-in=error.message refuse=Not that", "Not that"),
        (
            "refuse=See https://upstream.example/help?token=abc or ask sk-live-abcdef123456",
            "See [removed] or ask [removed]",
        ),
    ],
)
def test_a_refusal_is_the_callers_in_upstreams_words(shared: Pair, fault: str, text: str) -> None:
    """A complete refusal is 400 with upstream's message, cleaned; free, released, and asked only once."""
    before, calls = Books.of(shared), shared.simulator.stats()["calls"]
    refused = shared.gateway.metric("gateway_requests_total", outcome="refused")
    answer = shared.post(f"[{fault}]")
    assert (answer.status_code, answer.json()) == (400, {"code": -1, "msg": text})
    row = newest(shared.gateway)
    assert (row["state"], row["bill"], row["cost"]) == ("released", "free", 0)
    assert Books.of(shared) == before
    assert shared.simulator.stats()["calls"] == calls + 1
    assert shared.gateway.metric("gateway_requests_total", outcome="refused") == refused + 1


def test_a_long_refusal_is_cut(shared: Pair) -> None:
    """Upstream's words are passed on to at most 300 characters."""
    assert len(shared.post(f"[refuse={'word ' * 200}]").json()["msg"]) <= 300


@pytest.mark.parametrize("fault", ["error-cost", "status=500 error-cost", "status=429 error-cost"])
def test_a_failure_with_a_cost_is_settled_at_that_cost(shared: Pair, fault: str) -> None:
    """An error that names a cost was worked on: settled, not tried again, and no success."""
    before, calls = Books.of(shared), shared.simulator.stats()["calls"]
    assert shared.post(f"[{fault}]").status_code >= 400
    after = Books.of(shared)
    assert after.settled - before.settled == after.billed - before.billed == Decimal("0.04")
    assert (after.held, shared.simulator.stats()["calls"]) == (before.held, calls + 1)


@pytest.mark.parametrize("fault", ["key-error", "balance", "status=401", "status=402", "status=403", "code=401"])
def test_the_accounts_fault_is_never_the_callers(shared: Pair, fault: str) -> None:
    """A refused upstream key or an empty account is 502 in the gateway's own words, free, released."""
    before = Books.of(shared)
    answer = shared.post(f"[{fault}]")
    assert answer.status_code == 502
    assert answer.json() == {"code": -1, "msg": "The image provider is not available to this gateway right now"}
    assert newest(shared.gateway)["state"] == "released"
    assert Books.of(shared) == before
    assert "upstream_account_refused" in shared.gateway.log


@pytest.mark.parametrize("fault", ["status=500", "status=502 garbage", "code=500", "status=520"])
def test_a_failure_of_upstreams_is_502_and_free(shared: Pair, fault: str) -> None:
    """Any other complete server error is released, not repeated, and told in the gateway's own words."""
    before, calls = Books.of(shared), shared.simulator.stats()["calls"]
    answer = shared.post(f"[{fault}]")
    assert answer.status_code == 502
    assert answer.json() == {"code": -1, "msg": "The image provider failed to answer properly"}
    assert (newest(shared.gateway)["state"], newest(shared.gateway)["bill"]) == ("released", "free")
    assert Books.of(shared) == before
    assert shared.simulator.stats()["calls"] == calls + 1


@pytest.mark.parametrize("fault", ["code=429", "status=503"])
def test_a_busy_upstream_is_asked_three_times_and_then_503(shared: Pair, fault: str) -> None:
    """429 is kept for the caller's own limits: a busy upstream is 503 with Retry-After, free, after three attempts."""
    before, calls = Books.of(shared), shared.simulator.stats()["calls"]
    answer = shared.post(f"[{fault}]")
    assert (answer.status_code, answer.json()["code"]) == (503, -1)
    assert 1 <= int(answer.headers["retry-after"]) <= 60
    assert "x-should-retry" not in answer.headers
    assert newest(shared.gateway)["state"] == "released"
    assert Books.of(shared) == before
    assert shared.simulator.stats()["calls"] == calls + 3


def test_a_busy_upstream_that_recovers_costs_one_generation(shared: Pair) -> None:
    """Two busy answers and a success are one generation, billed once, and the caller notices nothing."""
    before, calls = Books.of(shared), shared.simulator.stats()["calls"]
    assert shared.post("[times=2 status=429]").status_code == 200
    assert shared.simulator.stats()["calls"] == calls + 3
    assert Books.of(shared).settled - before.settled == Decimal("0.04")
    assert Books.of(shared).billed - before.billed == Decimal("0.04")


def test_a_long_retry_after_is_not_waited_for(shared: Pair) -> None:
    """A Retry-After beyond the gateway's patience ends the call at once and is passed on, within a minute."""
    calls = shared.simulator.stats()["calls"]
    answer = shared.post("[status=429 retry-after=30]")
    assert answer.status_code == 503
    assert 30 <= int(answer.headers["retry-after"]) <= 60
    assert shared.simulator.stats()["calls"] == calls + 1


@pytest.mark.parametrize("fault", ["bad-link", "expired-link"])
def test_a_link_that_is_dead_from_the_start_is_paid_and_counted(shared: Pair, fault: str) -> None:
    """An image that cannot be fetched was billed: its cost is settled, the caller is told, an alarm is raised."""
    failures = shared.gateway.metric("gateway_keep_failures_total", cause="fetch")
    answer = shared.post(f"[{fault}]")
    assert (answer.status_code, answer.json()["code"]) == (502, -1)
    row = newest(shared.gateway)
    assert (row["state"], row["cost"], row["images_failed"]) == ("settled", 40_000, 1)
    assert shared.gateway.metric("gateway_keep_failures_total", cause="fetch") == failures + 1
