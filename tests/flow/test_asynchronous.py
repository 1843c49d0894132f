"""`Prefer: respond-async`: 202 once the generation is accounted for, and the same generation as for who waits."""

import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import httpx
import pytest

from tests.servers.pair import Pair, pair
from tests.servers.process import wait_until

ASYNC = {"Prefer": "respond-async"}


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Run a gateway and its upstream."""
    with pair(tmp_path_factory.mktemp("asynchronous")) as two:
        yield two


def accepted(answer: httpx.Response) -> str:
    """Check a 202 and return the id that it names."""
    assert answer.status_code == 202, answer.text
    generation: str = answer.json()["id"]
    assert answer.json() == {"id": generation, "state": "reserved"}
    assert answer.headers["location"] == f"/generations/{generation}"
    assert answer.headers["x-generation-id"] == generation
    assert answer.headers["retry-after"] == "2"
    assert answer.headers["cache-control"] == "private, no-store"
    return generation


def ended(both: Pair, generation: str) -> dict[str, Any]:
    """Wait for a generation's end."""
    headers = {"Authorization": f"Bearer {both.key}"}
    answer = both.gateway.http.get(f"/generations/{generation}", headers=headers, params={"wait": "30"})
    assert answer.status_code == 200
    seen: dict[str, Any] = answer.json()
    assert seen["state"] != "reserved"
    return seen


def running(both: Pair, number: int = 1) -> None:
    """Wait until so many calls are upstream."""
    wait_until(lambda: bool(both.simulator.stats()["open"] == number), "the calls to be upstream")


def test_it_is_answered_at_once_and_settles_by_itself(both: Pair) -> None:
    """The 202 names a generation that is reserved already; it settles, is billed and has its image like any other."""
    before = both.settled()
    begun = time.monotonic()
    answer = both.post("[delay=1]", ASYNC)
    assert time.monotonic() - begun < 1
    generation = accepted(answer)
    assert answer.headers["preference-applied"] == "respond-async"
    assert both.gateway.generation(generation)["state"] == "reserved"
    seen = ended(both, generation)
    assert (seen["state"], seen["cost_yuan"], seen["error"]) == ("settled", "0.040000", None)
    assert both.gateway.http.get(seen["reply"]["data"][0]["image"]).status_code == 200
    assert both.settled() - before == Decimal("0.04")
    assert both.gateway.metric("gateway_requests_total", outcome="accepted") >= 1


@pytest.mark.parametrize(
    ("prompt", "wait", "status", "applied"),
    [("p", 20, 200, "wait=20"), ("[delay=3]", 1, 202, "respond-async, wait=1")],
)
def test_it_waits_first_if_it_is_asked_to(both: Pair, prompt: str, wait: int, status: int, applied: str) -> None:
    """`respond-async, wait=N` answers 200 within that time, and 202 after it."""
    begun = time.monotonic()
    answer = both.post(prompt, {"Prefer": f"respond-async, wait={wait}"})
    took = time.monotonic() - begun
    assert (answer.status_code, answer.headers["preference-applied"]) == (status, applied)
    assert took < 2.5
    assert ended(both, answer.headers["x-generation-id"])["state"] == "settled"


def test_what_can_be_refused_is_refused_at_once(both: Pair) -> None:
    """A bad parameter, key or model, a used up budget, rate or concurrency: the answer is its own, never a 202."""
    gateway = both.gateway
    poor = gateway.tenant("poor", budget_total="0.001")
    narrow = gateway.tenant("narrow", models="flux-1.1-pro")
    slow = gateway.tenant("slow", requests_per_minute=1, concurrency=1)
    single = gateway.tenant("single", concurrency=1)
    with both.untouched():
        assert both.post("p", ASYNC, width=17).status_code == 400
        assert gateway.post("igw_sk_nobody", ASYNC).status_code == 401
        assert gateway.post(poor, ASYNC).status_code == 402
        assert gateway.post(narrow, ASYNC).status_code == 403
    accepted(gateway.post(slow, ASYNC))
    assert gateway.post(slow, ASYNC).status_code == 429
    accepted(gateway.post(single, ASYNC, prompt="[delay=1]"))
    refused = gateway.post(single, ASYNC)
    assert (refused.status_code, "retry-after" in refused.headers) == (429, True)
    reserved = "SELECT id FROM generations WHERE state = 'reserved'"
    wait_until(lambda: both.gateway.rows(reserved) == [], "both to settle")


@pytest.mark.parametrize(
    ("prompt", "state", "status"),
    [("[refuse]", "released", 400), ("[no-images]", "settled", 502), ("[close]", "unknown", 504)],
)
def test_how_it_failed_is_found_where_it_is_looked_for(both: Pair, prompt: str, state: str, status: int) -> None:
    """What a waiting caller would have been told is in `error`; an unknown outcome says so and is not tried again."""
    calls = both.simulator.stats()["calls"]
    seen = ended(both, accepted(both.post(prompt, ASYNC)))
    error = seen["error"]
    assert (seen["state"], seen["reply"], error["status"]) == (state, None, status)
    assert both.simulator.stats()["calls"] == calls + 1


def test_a_hit_and_a_replay_are_answered_in_full(both: Pair) -> None:
    """What is there already is a 200: from the cache, and for an idempotency key whose generation has ended."""
    headers = ASYNC | {"Idempotency-Key": "k-replay"}
    generation = accepted(both.post("[delay=0.2]", headers, seed=11))
    assert ended(both, generation)["state"] == "settled"
    with both.untouched():
        replayed = both.post("[delay=0.2]", headers, seed=11)
        hit = both.post("[delay=0.2]", ASYNC, seed=11)
    assert (replayed.status_code, replayed.headers["idempotent-replayed"]) == (200, "true")
    assert (hit.status_code, "hit" in hit.headers["cache-status"]) == (200, True)
    assert replayed.headers["x-generation-id"] == hit.headers["x-generation-id"] == generation


def test_a_repeat_while_it_runs_is_the_same_202(both: Pair) -> None:
    """The same idempotency key names the same generation; who does not ask for 202 gets 409, another body 422."""
    headers = ASYNC | {"Idempotency-Key": "k-again"}
    calls = both.simulator.stats()["calls"]
    generation = accepted(both.post("[delay=1.5]", headers))
    assert accepted(both.post("[delay=1.5]", headers)) == generation
    assert both.post("[delay=1.5]", {"Idempotency-Key": "k-again"}).status_code == 409
    assert both.post("another", headers).status_code == 422
    assert ended(both, generation)["state"] == "settled"
    assert both.simulator.stats()["calls"] == calls + 1


def test_equal_asks_share_one_generation(both: Pair) -> None:
    """Beside a leader that runs, an asynchronous ask has an id of its own, the same image, and costs nothing."""
    calls, bill, held = both.simulator.stats()["calls"], len(both.simulator.bill()), both.gateway.held()
    headers = ASYNC | {"Idempotency-Key": "k-behind"}
    leader = accepted(both.post("[delay=1.5]", ASYNC, seed=21))
    begun = time.monotonic()
    behind = accepted(both.post("[delay=1.5]", headers, seed=21))
    assert time.monotonic() - begun < 1
    assert accepted(both.post("[delay=1.5]", headers, seed=21)) == behind != leader
    first, second = ended(both, leader), ended(both, behind)
    assert (first["state"], first["cost_yuan"]) == ("settled", "0.040000")
    assert (second["state"], second["cost_yuan"]) == ("settled", "0.000000")
    images = [one["reply"]["data"][0]["image"].partition("?")[0] for one in (first, second)]
    assert images[0] == images[1]
    assert both.post("[delay=1.5]", headers, seed=21).status_code == 200
    assert (both.simulator.stats()["calls"] - calls, len(both.simulator.bill()) - bill) == (1, 1)
    assert both.gateway.held() == held


def test_who_trails_a_leader_that_fails_is_told_the_same(both: Pair) -> None:
    """A leader's refusal is the end of whoever follows it, at no cost; its idempotency key keeps it."""
    headers = ASYNC | {"Idempotency-Key": "k-refused"}
    with ThreadPoolExecutor(1) as pool:
        leading = pool.submit(both.post, "[delay=1.5 refuse]", None, seed=31)
        running(both)
        behind = accepted(both.post("[delay=1.5 refuse]", headers, seed=31))
        refused = leading.result()
    seen = ended(both, behind)
    error = seen["error"]
    assert (seen["state"], seen["cost_yuan"], error["msg"]) == ("released", "0.000000", refused.json()["msg"])
    assert both.post("[delay=1.5 refuse]", headers, seed=31).status_code == refused.status_code == 400


def test_a_killed_gateway_leaves_it_unknown_and_says_so(fresh: Callable[..., Pair]) -> None:
    """It is not resumed after a crash: its state is unknown, its hold stays, and nothing is sent again."""
    both = fresh()
    generation = accepted(both.post("[delay=2]", ASYNC))
    running(both)
    both.gateway.kill()
    both.gateway.begin()
    seen = ended(both, generation)
    error = seen["error"]
    assert (seen["state"], seen["cost_yuan"], error["status"]) == ("unknown", None, 504)
    assert "unknown" in error["msg"]
    assert both.simulator.stats()["calls"] == 1
    assert both.gateway.held() > 0


def test_a_stopping_gateway_finishes_it(fresh: Callable[..., Pair]) -> None:
    """A drain waits for what nobody waits for, and settles it."""
    both = fresh()
    generation = accepted(both.post("[delay=1]", ASYNC))
    assert both.gateway.stop() == 0
    assert both.gateway.generation(generation)["state"] == "settled"
    assert both.settled() == both.simulator.bill_total()


def test_a_draining_gateway_accepts_none(fresh: Callable[..., Pair]) -> None:
    """While it finishes what runs, another is refused as for who waits: no generation is named, reserved or sent."""
    both = fresh()
    generation = accepted(both.post("[delay=3]", ASYNC))
    running(both)
    both.gateway.send(signal.SIGTERM)
    wait_until(lambda: both.gateway.http.get("/readyz").status_code == 503, "the drain to begin")
    with both.untouched():
        refused = both.post("p", ASYNC | {"Idempotency-Key": "k-draining"})
    assert (refused.status_code, refused.headers["retry-after"].isdigit()) == (503, True)
    assert not {"location", "x-generation-id", "preference-applied"} & refused.headers.keys()
    assert both.gateway.ended() == 0
    assert both.gateway.generation(generation)["state"] == "settled"


def test_erasing_who_trailed_erases_the_picture(both: Pair) -> None:
    """A follower knows its own id alone: erased by that one, the image is gone, and the leader's words with it."""
    leader = accepted(both.post("[delay=1.5]", ASYNC, seed=51))
    behind = accepted(both.post("[delay=1.5]", ASYNC, seed=51))
    link = ended(both, behind)["reply"]["data"][0]["image"]
    headers = {"Authorization": f"Bearer {both.key}"}
    assert both.gateway.http.get(link).status_code == 200
    assert both.gateway.http.delete(f"/generations/{behind}", headers=headers).status_code == 204
    assert both.gateway.http.get(link).status_code in (404, 410)
    assert [ended(both, one)["reply"] for one in (leader, behind)] == [None, None]


def test_nobody_is_sent_away_without_the_image(fresh: Callable[..., Pair]) -> None:
    """Where nothing is kept nobody could fetch it later: the preference is not honoured, and the image is given."""
    two = fresh(storage_url="none")
    answer = two.post("p", ASYNC)
    assert (answer.status_code, len(answer.json()["data"])) == (200, 1)
    assert "preference-applied" not in answer.headers
    shown = ended(two, answer.headers["x-generation-id"])
    assert (shown["reply"], shown["error"]["status"]) == (None, 404)
