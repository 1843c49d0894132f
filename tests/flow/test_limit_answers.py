"""What callers are told of limits and budgets: in the headers of every answer that passed the limiter, and in words."""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from gateway.clock import Calendar, now
from gateway.settings import load
from tests.servers.gateway import Gateway
from tests.servers.process import wait_until
from tests.servers.simulator import Simulator, simulator
from tests.servers.workers import PRICE, running, standing

LIMITS = {"requests_per_minute": 60, "images_per_minute": 30, "burst": 10, "concurrency": 5}
POLICY = '"requests";q=60;w=60, "images";q=30;w=60, "concurrency";q=5;qu="concurrent-requests"'


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    """Share an upstream among the tests of this file."""
    with simulator(tmp_path_factory.mktemp("upstream")) as one:
        yield one


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, upstream: Simulator) -> Iterator[Gateway]:
    """Share a gateway where each generation is quoted and billed 0.04 yuan."""
    with running(tmp_path_factory.mktemp("limits"), upstream) as one:
        yield one


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory, upstream: Simulator) -> Iterator[Gateway]:
    """Share one that has no proxy before it, and waits neither for upstream nor for somebody to reconcile."""
    settings = {"trusted_proxies": "", "upstream_timeout": "1", "unknown_settle_after": "0.5"}
    with running(tmp_path_factory.mktemp("hasty"), upstream, **settings) as one:
        yield one


def ask(gateway: Gateway, key: str, prompt: str = "p", **members: Any) -> httpx.Response:
    """Ask for an image in whatever size."""
    return gateway.post(key, aspect_ratio="1:1", prompt=prompt, **members)


def left(answer: httpx.Response) -> dict[str, int]:
    """Read how much the answer says is left of each limit."""
    return {name: int(rest) for name, rest in re.findall(r'"([a-z-]+)";r=(\d+)', answer.headers["ratelimit"])}


@pytest.mark.parametrize(
    ("prompt", "status"),
    [("fine", 200), ("[refuse]", 400), ("[status=500]", 502), ("[status=429 retry-after=0]", 503), ("[close]", 502)],
)
def test_every_answer_that_passed_the_limiter_tells_what_is_left(gateway: Gateway, prompt: str, status: int) -> None:
    """A success and each failure of upstream carry policy and standing of all limits in force."""
    answer = ask(gateway, gateway.tenant(f"told-{status}-{len(prompt)}", **LIMITS), prompt)
    assert answer.status_code == status
    assert answer.headers["ratelimit-policy"] == POLICY
    assert left(answer) == {"requests": 9, "images": 9, "concurrency": 4}


def test_what_did_not_reach_the_limiter_is_told_and_charged_nothing(gateway: Gateway) -> None:
    """A bad parameter takes no request of the minute, and its answer has no such headers."""
    key = gateway.tenant("careless", **LIMITS)
    refused = ask(gateway, key, prompt="")
    assert refused.status_code == 400
    assert "ratelimit" not in refused.headers
    assert left(ask(gateway, key))["requests"] == 9


def test_without_limits_nothing_is_told(gateway: Gateway) -> None:
    """A tenant without rates or concurrency gets no such headers."""
    assert not {"ratelimit", "ratelimit-policy"} & ask(gateway, gateway.tenant("unlimited")).headers.keys()


def test_a_429_names_the_limit_and_when_to_come_back(gateway: Gateway) -> None:
    """Of several limits the one that is used up is named; its time in RateLimit is that of Retry-After."""
    key = gateway.tenant("eager", requests_per_minute=100, images_per_minute=2)
    assert [ask(gateway, key).status_code for _ in range(2)] == [200, 200]
    answer = ask(gateway, key)
    assert (answer.status_code, answer.json()) == (429, {"code": -1, "msg": "Rate limit exceeded: images"})
    wait = int(answer.headers["retry-after"])
    assert 1 <= wait <= 30
    assert f'"images";r=0;t={wait}' in answer.headers["ratelimit"]
    assert left(answer)["requests"] == 97
    assert "x-should-retry" not in answer.headers


@pytest.mark.parametrize("window", ["day", "month", "total"])
def test_a_402_names_the_window_and_when_it_resets(gateway: Gateway, window: str) -> None:
    """The words say which budget, what is left, what was asked, and at which local midnight it begins anew."""
    calendar = Calendar(load(gateway.environment).zone)
    key = gateway.tenant(f"spent-{window}", **{f"budget_{window}": "0.05"}, **LIMITS)
    assert ask(gateway, key).status_code == 200
    answer = ask(gateway, key)
    name = {"day": "daily", "month": "monthly", "total": "total"}[window]
    resets = {"day": calendar.next_day(now()), "month": calendar.next_month(now()), "total": None}[window]
    end = "It does not reset" if resets is None else f"It resets at {local(calendar, resets)}"
    assert answer.json()["msg"] == (
        f"The {name} budget of 0.050000 yuan is exhausted: 0.010000 left, this request may cost 0.040000. {end}"
    )
    assert (answer.status_code, answer.headers["x-should-retry"]) == (402, "false")
    assert answer.headers["ratelimit-policy"] == POLICY
    assert left(answer)["requests"] == 8


def local(calendar: Calendar, moment: int) -> str:
    """Write a moment that is a midnight of the calendar as a person there would."""
    return f"{calendar.day(moment)}T00:00:00+08:00"


def test_a_cached_reply_is_a_request_and_neither_an_image_nor_money(gateway: Gateway, upstream: Simulator) -> None:
    """A hit takes one of the requests, none of the images, no place and nothing of the budget."""
    key = gateway.tenant("thrifty", budget_total="0.04", **LIMITS | {"images_per_minute": 1})
    calls = upstream.stats()["calls"]
    first, *hits = [ask(gateway, key, seed=5) for _ in range(5)]
    assert [answer.status_code for answer in (first, *hits)] == [200] * 5
    assert upstream.stats()["calls"] - calls == 1
    assert {answer.headers["x-cost-yuan"] for answer in hits} == {"0.000000"}
    assert [left(answer)["requests"] for answer in (first, *hits)] == [9, 8, 7, 6, 5]
    assert not any("images" in left(answer) for answer in hits)
    assert standing(gateway, "thrifty")["total"] == (PRICE, 0)
    assert ask(gateway, key, seed=6).status_code == 429


def failures(gateway: Gateway, forwarded: Callable[[int], str], number: int = 25) -> list[int]:
    """Try so many keys that are none, from the addresses that a proxy names; return the statuses."""
    return [
        gateway.http.get(
            "/models", headers={"Authorization": f"igw_sk_{place:049d}", "X-Forwarded-For": forwarded(place)}
        ).status_code
        for place in range(number)
    ]


def test_guessing_is_slowed_by_the_address_that_a_trusted_proxy_names(gateway: Gateway) -> None:
    """The address nearest to the proxy counts, whatever the caller wrote before it; other addresses are not touched."""
    assert failures(gateway, lambda place: f"192.0.2.{place}, 198.51.100.1")[-1] == 429
    assert failures(gateway, lambda _: "198.51.100.2", 1) == [401]


def test_nobody_else_is_believed_about_addresses(hasty: Gateway) -> None:
    """Without trusted proxies X-Forwarded-For hides nobody; a good key works all the same, and nobody pays."""
    key = hasty.tenant("innocent", **LIMITS)
    assert failures(hasty, lambda place: f"203.0.113.{place}")[-1] == 429
    answer = ask(hasty, key)
    assert (answer.status_code, left(answer)["requests"]) == (200, 9)
    assert hasty.metric("gateway_rate_limited_total", tenant="innocent") == 0


def test_an_unknown_outcome_settles_at_its_quote_when_told_to(hasty: Gateway) -> None:
    """With GATEWAY_UNKNOWN_SETTLE_AFTER nobody has to decide: the hold becomes the bill."""
    key = hasty.tenant("overdue", budget_total="1")
    assert ask(hasty, key, "[silence]").status_code == 504
    assert standing(hasty, "overdue")["total"] == (0, PRICE)
    wait_until(lambda: standing(hasty, "overdue")["total"] == (PRICE, 0), "the hold to become a bill", 15)


def test_thresholds_are_said_once(hasty: Gateway) -> None:
    """At 80 % and at 100 % of a budget the log has one line each, and the gauges show how it stands."""
    key = hasty.tenant("thresholds", budget_day="0.20")
    assert [ask(hasty, key).status_code for _ in range(5)] == [200] * 5

    def lines(percent: int) -> int:
        said = (line for line in hasty.log.splitlines() if "budget threshold reached" in line)
        return sum(json.loads(line)["percent"] == percent for line in said)

    wait_until(lambda: lines(100) > 0, "the log to say so", 15)
    assert (lines(80), lines(100)) == (1, 1)
    shown = {
        name: hasty.metric(f"gateway_budget_{name}_yuan", tenant="thresholds", window="day")
        for name in ("limit", "spent", "held")
    }
    assert shown == {"limit": 0.2, "spent": 0.2, "held": 0.0}
