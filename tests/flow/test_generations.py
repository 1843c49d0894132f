"""`GET /generations/{id}`: what became of a generation, for its tenant alone."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.servers.pair import Pair, pair
from tests.servers.process import wait_until

NOBODYS = "gen_00000000000000000000000000000000"


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Run a gateway that waits for upstream no longer than three seconds."""
    with pair(tmp_path_factory.mktemp("generations"), upstream_timeout="3") as two:
        yield two


def show(both: Pair, generation: str, key: str | None = None, **query: str) -> httpx.Response:
    """Look at a generation, as its tenant unless a key is given."""
    headers = {"Authorization": f"Bearer {both.key if key is None else key}"}
    return both.gateway.http.get(f"/generations/{generation}", headers=headers, params=query)


def test_a_settled_generation_shows_its_reply(both: Pair) -> None:
    """State, cost and the reply with fresh links are there for as long as anybody asks; nothing is charged for it."""
    answer = both.post()
    with both.untouched():
        shown = show(both, answer.headers["x-generation-id"])
    assert (shown.status_code, shown.headers["cache-control"]) == (200, "private, no-store")
    assert "retry-after" not in shown.headers
    seen = shown.json()
    assert seen.keys() == {"id", "state", "created_at", "model", "cost_yuan", "reply", "error"}
    assert seen["error"] is None
    assert (seen["id"], seen["state"]) == (answer.headers["x-generation-id"], "settled")
    assert (seen["model"], seen["cost_yuan"]) == ("flux-2-pro", "0.040000")
    assert seen["reply"].keys() == answer.json().keys()
    links = [reply["data"][0]["image"] for reply in (answer.json(), seen["reply"])]
    pictures = [both.gateway.http.get(link) for link in links]
    assert [picture.status_code for picture in pictures] == [200, 200]
    assert pictures[0].content == pictures[1].content


def test_nobody_else_sees_it(both: Pair) -> None:
    """Another tenant's generation and one that never was are the same 404; without a key it is 401."""
    generation = both.post().headers["x-generation-id"]
    stranger = both.gateway.tenant("stranger")
    another_key = both.gateway.key("team")
    not_theirs, not_there = show(both, generation, stranger), show(both, NOBODYS)
    assert (not_theirs.status_code, not_there.status_code) == (404, 404)
    assert not_theirs.json() == not_there.json() == {"code": -1, "msg": "There is no such generation"}
    assert show(both, generation, another_key).status_code == 200
    assert show(both, generation, "igw_sk_nobody").status_code == 401


def test_a_running_generation_can_be_waited_for(both: Pair) -> None:
    """Found by the 409 of its idempotency key, it is reserved, then settled: at once for whoever waits for it."""
    prompt, headers = "[delay=1.5]", {"Idempotency-Key": "k-wait"}
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(both.post, prompt, headers)
        wait_until(lambda: bool(both.simulator.stats()["open"] == 1), "the call to be upstream")
        told = both.post(prompt, headers)
        assert told.status_code == 409
        generation = told.headers["location"].removeprefix("/generations/")
        begun = time.monotonic()
        early = show(both, generation)
        assert (early.json()["state"], early.json()["reply"], early.json()["cost_yuan"]) == ("reserved", None, None)
        assert int(early.headers["retry-after"]) >= 1
        assert show(both, generation, wait="0").json()["state"] == "reserved"
        late = show(both, generation, wait="30")
        waited = time.monotonic() - begun
        answer = running.result()
    assert (late.json()["state"], answer.headers["x-generation-id"]) == ("settled", generation)
    assert both.gateway.http.get(late.json()["reply"]["data"][0]["image"]).status_code == 200
    assert waited < 10, "the wait ends with the generation, not with the time"


def test_a_wait_that_is_too_short_shows_what_there_is(both: Pair) -> None:
    """After the time that was asked for, a generation that still runs is shown as reserved."""
    prompt, headers = "[delay=2.5]", {"Idempotency-Key": "k-short"}
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(both.post, prompt, headers)
        wait_until(lambda: bool(both.simulator.stats()["open"] == 1), "the call to be upstream")
        generation = both.post(prompt, headers).headers["x-generation-id"]
        assert show(both, generation, wait="1").json()["state"] == "reserved"
        assert running.result().status_code == 200


@pytest.mark.parametrize(
    ("prompt", "status", "state", "cost"),
    [
        ("[refuse]", 400, "released", "0.000000"),
        ("[no-images]", 502, "settled", "0.040000"),
        ("[silence]", 504, "unknown", None),
    ],
)
def test_a_failed_generation_shows_how_it_ended(
    both: Pair, prompt: str, status: int, state: str, cost: str | None
) -> None:
    """What was refused is released and free, what was billed settled, the rest unknown: none of them has a reply."""
    answer = both.post(prompt)
    assert answer.status_code == status
    seen = show(both, answer.headers["x-generation-id"]).json()
    assert (seen["state"], seen["cost_yuan"], seen["reply"]) == (state, cost, None)
    assert (seen["error"]["code"], seen["error"]["status"]) == (-1, status)
    if state != "unknown":
        assert seen["error"]["msg"] == answer.json()["msg"]


def test_an_idempotency_key_of_an_unknown_outcome_never_pays_again(both: Pair) -> None:
    """Its repeat is 504 and sends nothing: the first call may have been billed."""
    headers = {"Idempotency-Key": "k-unknown"}
    first = both.post("[close]", headers)
    assert first.status_code == 502
    with both.untouched():
        again = both.post("[close]", headers)
    assert (again.status_code, again.headers["x-should-retry"]) == (504, "false")
    assert again.headers["x-generation-id"] == first.headers["x-generation-id"]


@pytest.mark.parametrize("wait", ["", "-1", "61", "1.5", "soon", "٣"])
def test_a_wait_is_a_whole_number_of_seconds_up_to_a_minute(both: Pair, wait: str) -> None:
    """Anything else is 400 and names the parameter."""
    answer = show(both, NOBODYS, wait=wait)
    assert (answer.status_code, answer.json()["msg"]) == (400, "Invalid wait parameter. Supported range: 0 to 60")


def test_images_are_shown_in_the_form_that_is_asked_for(both: Pair) -> None:
    """`X-Image-Format: base64` gives the bytes of a generation that was answered with a link."""
    answer = both.post()
    generation = answer.headers["x-generation-id"]
    headers = {"Authorization": f"Bearer {both.key}", "X-Image-Format": "base64"}
    shown = both.gateway.http.get(f"/generations/{generation}", headers=headers).json()
    assert shown["reply"]["data"][0]["type"] == "base64"
