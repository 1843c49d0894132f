"""Stopping, dying, and callers who leave: what was paid for is finished, or known to be unknown."""

import json
import signal
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from decimal import Decimal

import httpx
import pytest

from gateway.life import GRACE_SECONDS
from gateway.money import MICROS_PER_YUAN
from tests.flow.wire import request
from tests.servers.pair import Pair
from tests.servers.process import wait_until

QUOTE = 213_000


@contextmanager
def in_flight(both: Pair, number: int, fault: str) -> Iterator[list[Future[httpx.Response]]]:
    """Have so many calls wait upstream while the block runs."""
    with ThreadPoolExecutor(number) as pool:
        futures = [pool.submit(both.post, f"call {index} [{fault}]") for index in range(number)]
        wait_until(lambda: bool(both.simulator.stats()["open"] == number), "the calls to be upstream")
        yield futures


def states(both: Pair) -> list[str]:
    """Return the states of all generations."""
    return [row["state"] for row in both.gateway.rows("SELECT state FROM generations ORDER BY id")]


def test_a_stopping_gateway_finishes_what_runs(fresh: Callable[..., Pair]) -> None:
    """After SIGTERM nothing new is begun, what runs is answered and settled, and the exit status is 0."""
    both = fresh()
    with in_flight(both, 3, "delay=2") as running:
        both.gateway.send(signal.SIGTERM)
        wait_until(lambda: both.gateway.http.get("/readyz").status_code == 503, "the gateway to say that it drains")
        assert both.gateway.http.get("/livez").status_code == 200
        late = both.post("too late")
        assert (late.status_code, late.json()) == (503, {"code": -1, "msg": "The gateway is shutting down"})
        assert int(late.headers["retry-after"]) >= 1
        assert [answer.result().status_code for answer in running] == [200] * 3
    assert both.gateway.ended() == 0
    assert states(both) == ["settled"] * 3
    assert both.settled() == both.simulator.bill_total() == Decimal("0.12")
    assert both.gateway.held() == 0


@pytest.mark.full
def test_a_stopping_gateway_waits_for_the_images_of_what_runs(fresh: Callable[..., Pair]) -> None:
    """An answer that comes late, with a link that is slow, is kept, although the upstream time-out has long passed."""
    both = fresh(upstream_timeout="2")
    with in_flight(both, 1, f"delay=1 slow-link={GRACE_SECONDS + 5}") as running:
        both.gateway.send(signal.SIGTERM)
        assert running[0].result().status_code == 200
    assert both.gateway.ended() == 0
    (image,) = both.gateway.rows("SELECT sha256 FROM images")
    assert image["sha256"] == both.simulator.bill()[0].images[0].sha256
    assert both.settled() == both.simulator.bill_total()


def test_an_idle_gateway_stops_at_once(fresh: Callable[..., Pair]) -> None:
    """SIGINT ends a gateway that has nothing to do, with status 0 and nothing left to reconcile."""
    both = fresh()
    assert both.post().status_code == 200
    assert both.gateway.stop(signal.SIGINT) == 0
    assert "Traceback" not in both.gateway.log
    assert both.gateway.rows("SELECT count(*) AS number FROM processes") == [{"number": 0}]


def test_a_second_signal_does_not_wait(fresh: Callable[..., Pair]) -> None:
    """What still runs is left unknown, durably, with its hold; callers get the envelope; the process ends in order."""
    both = fresh()
    with in_flight(both, 2, "delay=30") as running:
        both.gateway.send(signal.SIGTERM)
        wait_until(lambda: both.gateway.http.get("/readyz").status_code == 503, "the gateway to say that it drains")
        assert both.gateway.stop() == 0
        for answer in running:
            assert answer.result().json()["code"] == -1
            assert answer.result().headers["x-should-retry"] == "false"
    assert states(both) == ["unknown"] * 2
    assert both.gateway.held() == 2 * QUOTE
    assert "Traceback" not in both.gateway.log


def test_after_a_crash_what_ran_is_unknown_until_somebody_decides(fresh: Callable[..., Pair]) -> None:
    """kill -9 loses no yuan: holds stay, `reconcile` lists them, and settles or voids them one by one or together."""
    both = fresh()
    assert both.post().status_code == 200
    with in_flight(both, 4, "delay=1") as running:
        both.gateway.kill()
        assert all(isinstance(answer.exception(), httpx.TransportError) for answer in running)
    wait_until(lambda: len(both.simulator.bill()) == 5, "upstream to bill what it was asked")
    both.gateway.begin()
    assert states(both) == ["settled"] + ["unknown"] * 4
    assert both.gateway.held() == 4 * QUOTE
    assert both.settled() + Decimal(both.gateway.held()) / MICROS_PER_YUAN >= both.simulator.bill_total()
    assert both.post("business goes on").status_code == 200

    listed = both.gateway.cli("reconcile", "--json")
    rows = json.loads(listed.stdout)["rows"]
    assert [(row["tenant"], row["quote_yuan"]) for row in rows] == [("team", "0.213000")] * 4
    assert both.gateway.cli("reconcile", "--settle", rows[0]["id"], "0.04").returncode == 0
    assert both.gateway.cli("reconcile", "--void", rows[1]["id"]).returncode == 0
    assert both.gateway.cli("reconcile", "--tenant", "team", "--settle-quoted").returncode == 0
    assert states(both) == ["settled", "settled", "released", "settled", "settled", "settled"]
    assert both.gateway.held() == 0
    # Two at upstream's price, one at its bill, one at nothing, two at their quotes.
    assert both.settled() == Decimal("0.04") * 3 + Decimal("0.213") * 2
    audit = both.gateway.rows("SELECT subject FROM audit WHERE action = 'generation.reconcile' ORDER BY id")
    assert {row["subject"] for row in audit} == {row["id"] for row in rows}


def test_a_caller_who_leaves_does_not_stop_the_generation(fresh: Callable[..., Pair]) -> None:
    """What was reserved is finished, kept and settled, although nobody is there to read the answer."""
    both = fresh()
    body = b'{"model":"flux-2-pro","prompt":"[delay=0.5]","width":64,"height":64}'
    sent = request(f"Authorization: {both.key}", "Content-Type: application/json", body=body)
    with socket.create_connection(("127.0.0.1", both.gateway.port), timeout=5) as connection:
        connection.sendall(sent)
        wait_until(lambda: bool(both.simulator.stats()["open"] == 1), "the call to be upstream")
    wait_until(lambda: states(both) == ["settled"], "the generation to be settled")
    assert both.settled() == both.simulator.bill_total() == Decimal("0.04")
    (image,) = both.gateway.rows("SELECT sha256 FROM images")
    assert image["sha256"] == both.simulator.bill()[0].images[0].sha256
    wait_until(lambda: both.gateway.metric("gateway_in_flight_generations") == 0, "the generation to be over")
