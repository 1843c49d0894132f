"""Every directive of a request's Cache-Control (RFC 9111, 5.2.1), held against replies of every age."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import count
from typing import Literal

import httpx
import pytest

from gateway.replies import Entry
from tests.servers.pair import Pair, pair
from tests.servers.redis import Server, redis_server
from tests.servers.workers import SECRET

LIFETIME = 3600
SLOW = 5
"""Seconds that may pass between storing and asking on a busy machine."""
AGES = {"fresh": 10, "old": 600, "expired": LIFETIME + 10}

State = Literal["absent", "fresh", "old", "expired"]
HIT, REFUSED = "hit", "504"
MADE, MADE_ANEW, MADE_AFTER = "fwd=uri-miss; stored", "fwd=request; stored", "fwd=stale; stored"

DECIDED = {
    #                                 absent           fresh        old          expired
    "": (MADE, HIT, HIT, MADE_AFTER),
    "no-cache": (MADE_ANEW, MADE_ANEW, MADE_ANEW, MADE_ANEW),
    "no-store": ("fwd=uri-miss", HIT, HIT, "fwd=stale"),
    "no-cache, no-store": ("fwd=request", "fwd=request", "fwd=request", "fwd=request"),
    "max-age=60": (MADE, HIT, MADE_ANEW, MADE_AFTER),
    "max-age=0": (MADE, MADE_ANEW, MADE_ANEW, MADE_AFTER),
    "min-fresh=3100": (MADE, HIT, MADE_ANEW, MADE_AFTER),
    "max-stale": (MADE, HIT, HIT, MADE_AFTER),
    "max-stale=99999": (MADE, HIT, HIT, MADE_AFTER),
    "no-transform": (MADE, HIT, HIT, MADE_AFTER),
    "only-if-cached": (REFUSED, HIT, HIT, REFUSED),
    "only-if-cached, max-age=60": (REFUSED, HIT, REFUSED, REFUSED),
    "only-if-cached, min-fresh=3100": (REFUSED, HIT, REFUSED, REFUSED),
    "only-if-cached, no-cache": (REFUSED, REFUSED, REFUSED, REFUSED),
    "max-age=soon, unheard-of": (MADE, HIT, HIT, MADE_AFTER),
}
STATES: tuple[State, ...] = ("absent", "fresh", "old", "expired")


@dataclass(frozen=True, slots=True)
class Cached:
    """A gateway whose replies are in a Redis, where they can be made to look older, and a tenant's key."""

    both: Pair
    redis: Server
    key: str

    def ask(self, seed: int | None, directive: str = "") -> httpx.Response:
        """Ask for a picture."""
        headers = {"Cache-Control": directive} if directive else {}
        members: dict[str, object] = {} if seed is None else {"seed": seed}
        return self.both.gateway.post(self.key, headers, prompt="cached", **members)

    def store(self, seed: int, age: int) -> None:
        """Have a reply stored so many seconds ago."""
        with self.redis.client() as client:
            before = set(client.scan_iter("igw:replies:*"))
            assert self.ask(seed).status_code == 200
            (name,) = set(client.scan_iter("igw:replies:*")) - before
            written = client.get(name)
            assert isinstance(written, bytes)
            entry = Entry.read(written)
            older = replace(entry, stored_at=entry.stored_at - age * 1000)
            client.set(name, older.written(), keepttl=True)


@pytest.fixture(scope="module")
def cached(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cached]:
    """Run one, whose tenant's replies live for an hour."""
    directory = tmp_path_factory.mktemp("directives")
    with redis_server() as redis, pair(directory, redis_url=redis.url, secret=SECRET) as both:
        yield Cached(both, redis, both.gateway.tenant("cached", cache_ttl=LIFETIME))


_seeds = count(1)


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("directive", DECIDED)
def test_a_directive_decides(cached: Cached, directive: str, state: State) -> None:
    """Status, Cache-Status, Age and the calls upstream are as decided, and what was stored is there for the next."""
    expected, seed = DECIDED[directive][STATES.index(state)], next(_seeds)
    if state != "absent":
        cached.store(seed, AGES[state])
    calls = cached.both.simulator.stats()["calls"]
    answer = cached.ask(seed, directive)
    calls = cached.both.simulator.stats()["calls"] - calls
    words = answer.headers["cache-status"]
    print(f"{directive or '(none)'}, {state}: {answer.status_code}, {words}, Age {answer.headers.get('age')}, {calls}")
    if expected == REFUSED:
        assert (answer.status_code, calls) == (504, 0)
        assert answer.json()["code"] == -1
        assert words == "gateway; detail=only-if-cached"
    elif expected == HIT:
        assert (answer.status_code, calls) == (200, 0)
        age = int(answer.headers["age"])
        assert AGES[state] <= age <= AGES[state] + SLOW
        assert words == f"gateway; hit; ttl={LIFETIME - age}"
        assert answer.headers["x-cost-yuan"] == "0.000000"
    else:
        assert (answer.status_code, calls) == (200, 1)
        assert words == f"gateway; {expected}"
        assert "age" not in answer.headers
        assert answer.headers["x-cost-yuan"] == "0.040000"
    if answer.status_code == 200:
        assert answer.headers["cache-control"] == "private, no-store"

    after = cached.ask(seed, "only-if-cached")
    is_there = "stored" in expected or state in ("fresh", "old")
    assert after.status_code == (200 if is_there else 504)
    if "stored" in expected:
        assert after.headers["x-generation-id"] == answer.headers["x-generation-id"]


@pytest.mark.parametrize(
    ("directive", "status", "words", "calls"),
    [
        ("", 200, "gateway; fwd=bypass", 1),
        ("max-age=60", 200, "gateway; fwd=bypass", 1),
        ("only-if-cached", 504, "gateway; detail=only-if-cached", 0),
    ],
)
def test_what_the_policy_does_not_cover_is_never_stored(
    cached: Cached, directive: str, status: int, words: str, calls: int
) -> None:
    """Without a seed each ask is a new picture; `only-if-cached` does not spend on it either."""
    before = cached.both.simulator.stats()["calls"]
    answer = cached.ask(None, directive)
    assert (answer.status_code, answer.headers["cache-status"]) == (status, words)
    assert cached.both.simulator.stats()["calls"] - before == calls
