"""`GET /generations/{id}/events`: stages as they come, to the end, for the tenant alone."""

import json
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import httpx
import pytest

from gateway.api.events import OF_A_TENANT, OF_AN_END_USER
from tests.flow.test_client_tokens import token
from tests.servers.pair import Pair, pair
from tests.servers.process import wait_until

ASYNC = {"Prefer": "respond-async"}
NOBODYS = "gen_00000000000000000000000000000000"


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Run a gateway and its upstream."""
    with pair(tmp_path_factory.mktemp("events")) as two:
        yield two


def begin(both: Pair, prompt: str) -> str:
    """Begin an asynchronous generation; return its id."""
    answer = both.post(prompt, ASYNC)
    assert answer.status_code == 202
    generation: str = answer.json()["id"]
    return generation


def path_of(generation: str) -> str:
    """Return where its events are."""
    return f"/generations/{generation}/events"


def read(both: Pair, generation: str, headers: Mapping[str, str] | None = None) -> list[tuple[str, str, Any]]:
    """Read the events to their end: each one's id, name and data."""
    sent = {"Authorization": f"Bearer {both.key}"} | dict(headers or {})
    answer = both.gateway.http.get(path_of(generation), headers=sent)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
    assert (answer.headers["cache-control"], answer.headers["x-accel-buffering"]) == ("no-store", "no")
    blocks = answer.text.split("\n\n")
    assert (blocks[0], blocks[-1]) == ("retry: 2000", "")
    events = []
    for block in blocks[1:-1]:
        if not block.startswith(":"):
            fields = dict(line.split(": ", 1) for line in block.split("\n"))
            events.append((fields["id"], fields["event"], json.loads(fields["data"])))
    return events


def test_the_stages_come_in_order_and_end_with_the_generation(both: Pair) -> None:
    """Reserved, generating, keeping, settled; the last shows what `GET /generations/{id}` shows."""
    generation = begin(both, "[delay=1]")
    begun = time.monotonic()
    events = read(both, generation)
    assert 0.5 < time.monotonic() - begun < 5
    assert [event[:2] for event in events] == [
        ("1", "reserved"),
        ("2", "generating"),
        ("3", "keeping"),
        ("4", "settled"),
    ]
    assert all(event[2] == {"id": generation, "state": "reserved"} for event in events[:-1])
    shown = both.gateway.http.get(f"/generations/{generation}", headers={"Authorization": both.key}).json()
    last = events[-1][2]
    assert {**last, "reply": None} == {**shown, "reply": None}
    assert both.gateway.http.get(last["reply"]["data"][0]["image"]).status_code == 200


@pytest.mark.parametrize(("prompt", "state"), [("[refuse]", "released"), ("[close]", "unknown"), ("p", "settled")])
def test_an_ended_generation_has_its_end_alone_to_tell(both: Pair, prompt: str, state: str) -> None:
    """However it ended, also without an asynchronous call; what went wrong is in its `error`."""
    generation = both.post(prompt).headers["x-generation-id"]
    events = read(both, generation, {"Last-Event-ID": "1"})
    assert [event[:2] for event in events] == [("4", state)]
    assert (events[0][2]["error"] is None) == (state == "settled")


def test_a_reader_who_comes_back_goes_on_where_it_was(both: Pair) -> None:
    """`Last-Event-ID` leaves out what was seen; who has seen the end is told with 204 to stay away."""
    generation = begin(both, "[delay=1]")
    events = read(both, generation, {"Last-Event-ID": "2"})
    assert [event[0] for event in events] == ["3", "4"]
    sent = {"Authorization": f"Bearer {both.key}", "Last-Event-ID": "4"}
    assert both.gateway.http.get(path_of(generation), headers=sent).status_code == 204
    assert [event[0] for event in read(both, generation, {"Last-Event-ID": "nonsense"})][-1] == "4"


def test_nobody_else_reads_them(both: Pair) -> None:
    """Another tenant's generation and one that never was are the same 404; without a key it is 401."""
    generation = begin(both, "p")
    stranger = both.gateway.tenant("stranger")
    answers = [
        both.gateway.http.get(path_of(one), headers={"Authorization": f"Bearer {stranger}"})
        for one in (generation, NOBODYS)
    ]
    assert [answer.status_code for answer in answers] == [404, 404]
    assert answers[0].json() == answers[1].json() == {"code": -1, "msg": "There is no such generation"}
    assert both.gateway.http.get(path_of(generation)).status_code == 401


def test_streams_are_bounded_and_readers_who_leave_free_theirs(both: Pair) -> None:
    """A tenant has so many streams at once, and each end user few of them, with however many tokens.

    One more is 429 until readers leave, in the middle of theirs.
    """
    key = both.gateway.tenant("reader")
    ann, again, other = (token(both, key, user=user) for user in ("ann", "ann", None))
    generation = both.gateway.post(ann, ASYNC, prompt="[delay=4]").json()["id"]
    others = both.gateway.post(other, ASYNC, prompt="[delay=4]").json()["id"]
    limits = httpx.Limits(max_connections=None)
    with httpx.Client(base_url=both.gateway.url, trust_env=False, timeout=20, limits=limits) as client:

        def opened(key: str, generation: str = generation) -> httpx.Response:
            request = client.build_request("GET", path_of(generation), headers={"Authorization": f"Bearer {key}"})
            return client.send(request, stream=True)

        def assert_full(key: str, most: int) -> None:
            refused = opened(key)
            refused.read()
            assert (refused.status_code, refused.headers["retry-after"]) == (429, "2")
            assert refused.json()["msg"] == f"Too many event streams; at most {most} at once"

        with ExitStack() as stack:
            for count in range(OF_A_TENANT):
                answer = opened(ann if count < OF_AN_END_USER else key)
                stack.callback(answer.close)
                assert answer.status_code == 200
                if count == OF_AN_END_USER:
                    assert_full(ann, OF_AN_END_USER)
                    assert_full(again, OF_AN_END_USER)
                    opened(other, others).raise_for_status().close()
            assert_full(key, OF_A_TENANT)

        def free() -> bool:
            answer = opened(again)
            answer.close()
            return answer.status_code == 200

        wait_until(free, "a place to be free")


def test_a_stopping_gateway_tells_the_end_of_what_it_finishes(fresh: Callable[..., Pair]) -> None:
    """The reader of a generation that a drain waits for has its end before the process ends."""
    both = fresh()
    generation = begin(both, "[delay=2]")
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(read, both, generation)
        wait_until(lambda: bool(both.simulator.stats()["open"] == 1), "the call to be upstream")
        both.gateway.send(signal.SIGTERM)
        events = reading.result()
    assert events[-1][:2] == ("4", "settled")
    assert both.gateway.ended() == 0
