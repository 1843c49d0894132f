"""Nothing is paid for twice: an Idempotency-Key is one generation, whoever sends it again and to whom."""

from collections import Counter
from collections.abc import Callable

from tests.crowd import Asking, at_once, statuses
from tests.servers.fleet import Fleet

COST = 40_000
WAITING = {"Prefer": "wait=30"}


def keyed(name: str) -> dict[str, str]:
    """Return the header that names a request."""
    return {"Idempotency-Key": name}


def test_one_idempotency_key_is_one_generation(two_workers: Fleet) -> None:
    """Of 200 requests at once with one key one is made; the others are told that it runs, or get its reply."""
    key = two_workers.gateway.tenant("double-click")
    calls = two_workers.simulator.stats()["calls"]
    asked = Asking(key, {"prompt": "once [delay=1]"}, keyed("k-1"))
    answers = at_once(two_workers.gateway, [asked] * 200)
    calls = two_workers.simulator.stats()["calls"] - calls
    charged = two_workers.charged("double-click")
    print(f"200 with one key: {calls} upstream call, {statuses(answers)}, charged {charged}")
    assert calls == 1
    assert set(statuses(answers)) <= {200, 409}
    assert charged == (1, COST, 0)
    made = [answer for answer in answers if answer.status == 200 and "idempotent-replayed" not in answer.headers]
    assert len(made) == 1
    for answer in answers:
        if answer.status == 409:
            assert answer.headers["location"] == f"/generations/{made[0].headers['x-generation-id']}"
            assert int(answer.headers["retry-after"]) >= 1
            assert answer.headers["x-should-retry"] == "false"
    (again,) = at_once(two_workers.gateway, [asked])
    assert (again.status, again.headers["idempotent-replayed"]) == (200, "true")
    assert again.envelope["usage"]["cost"] == 0
    picture = two_workers.gateway.http.get(made[0].link).content
    assert two_workers.gateway.http.get(again.link).content == picture


def test_who_would_rather_wait_gets_the_reply(two_workers: Fleet) -> None:
    """With `Prefer: wait=30` all 200 are answered 200 with the one generation, seeded and unseeded."""
    key = two_workers.gateway.tenant("patient")
    calls = two_workers.simulator.stats()["calls"]
    for name, members in (("k-plain", {}), ("k-seeded", {"seed": 3})):
        asked = Asking(key, {"prompt": "joined [delay=1]", **members}, keyed(name) | WAITING)
        answers = at_once(two_workers.gateway, [asked] * 200)
        assert statuses(answers) == {200: 200}
        assert len({answer.headers["x-generation-id"] for answer in answers}) == 1
        paid = Counter(answer.headers["x-cost-yuan"] for answer in answers)
        print(f"200 with one key that wait, {name}: {statuses(answers)}, {dict(paid)}")
        assert paid == {"0.040000": 1, "0.000000": 199}
    assert two_workers.simulator.stats()["calls"] - calls == 2
    assert two_workers.charged("patient") == (2, 2 * COST, 0)


def test_a_key_does_not_stand_for_another_request(two_workers: Fleet, count: Callable[[int, int], int]) -> None:
    """A changed body under a known key is 422 each time, while the first runs and after it; it costs nothing."""
    number = count(20, 100)
    key = two_workers.gateway.tenant("changed")
    first = Asking(key, {"prompt": "as asked"}, keyed("k-1"))
    assert statuses(at_once(two_workers.gateway, [first])) == {200: 1}
    calls = two_workers.simulator.stats()["calls"]
    changed = [Asking(key, {"prompt": f"other {index}"}, keyed("k-1")) for index in range(number)]
    answers = at_once(two_workers.gateway, changed)
    while_running = at_once(
        two_workers.gateway,
        [Asking(key, {"prompt": f"race {index} [delay=0.5]"}, keyed("k-2")) for index in range(10)],
    )
    calls = two_workers.simulator.stats()["calls"] - calls
    print(f"{number} changed bodies: {statuses(answers)}; of 10 at once under one key: {statuses(while_running)}")
    assert statuses(answers) == {422: number}
    assert statuses(while_running) == {200: 1, 422: 9}
    assert calls == 1
    assert two_workers.charged("changed") == (2, 2 * COST, 0)


def test_a_key_is_its_tenants_own(two_workers: Fleet) -> None:
    """Two tenants may use one idempotency key: two calls, each with its own reply."""
    keys = [two_workers.gateway.tenant(name) for name in ("this", "that")]
    calls = two_workers.simulator.stats()["calls"]
    asked = [Asking(key, {"prompt": "same key [delay=0.5]"}, keyed("k-1") | WAITING) for key in keys * 5]
    answers = at_once(two_workers.gateway, asked)
    calls = two_workers.simulator.stats()["calls"] - calls
    print(f"one key of two tenants, 10 times: {calls} upstream calls")
    assert calls == 2
    assert statuses(answers) == {200: 10}
    made = [{answer.headers["x-generation-id"] for answer in answers[place::2]} for place in range(2)]
    assert [len(each) for each in made] == [1, 1]
    assert made[0] != made[1]


def test_what_was_paid_is_served_when_nothing_may_be_paid(two_workers: Fleet) -> None:
    """With the budget, or the rate of images, used up a new request is refused, and a known key replayed."""
    for name, policy, refused in (
        ("broke", {"budget_total": "0.22"}, 402),
        ("hasty", {"images_per_minute": 1}, 429),
    ):
        key = two_workers.gateway.tenant(name, **policy)
        asked = Asking(key, {"prompt": "the last one"}, keyed("k-1"))
        (first,) = at_once(two_workers.gateway, [asked])
        (new,) = at_once(two_workers.gateway, [Asking(key, {"prompt": "one more"})])
        replayed = at_once(two_workers.gateway, [asked] * 10)
        print(f"{policy}: first {first.status}, new {new.status}, replayed {statuses(replayed)}")
        assert (first.status, new.status) == (200, refused)
        assert statuses(replayed) == {200: 10}
        assert {answer.headers["x-generation-id"] for answer in replayed} == {first.headers["x-generation-id"]}
        assert two_workers.charged(name) == (1, COST, 0)


def test_a_failure_that_may_be_tried_again_frees_its_key(two_workers: Fleet) -> None:
    """After a failed attempt the same key is made anew; after a refusal by upstream the refusal stands."""
    calls = two_workers.simulator.stats()["calls"]
    failing = Asking(two_workers.key, {"prompt": "[times=1 status=500]"}, keyed("k-freed"))
    statuses_freed = [at_once(two_workers.gateway, [failing])[0].status for _ in range(3)]
    refused = Asking(two_workers.key, {"prompt": "[times=1 refuse]"}, keyed("k-kept"))
    answers_kept = [at_once(two_workers.gateway, [refused])[0] for _ in range(3)]
    calls = two_workers.simulator.stats()["calls"] - calls
    print(f"a failure, repeated: {statuses_freed}; a refusal, repeated: {statuses(answers_kept)}; {calls} calls")
    assert statuses_freed == [502, 200, 200]
    assert statuses(answers_kept) == {400: 3}
    assert len({answer.body for answer in answers_kept}) == 1
    assert calls == 3
