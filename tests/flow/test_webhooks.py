"""Webhooks from end to end: what an endpoint is sent, however often that fails, verified by the public package."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection
from standardwebhooks import Webhook

from gateway.cli.access import administration, endpoints, in_database
from gateway.settings import load
from tests.servers.gateway import Gateway
from tests.servers.pair import Pair, pair
from tests.servers.ports import free_port
from tests.servers.process import wait_until
from tests.servers.receiver import Received, Receiver, receiver

ASYNC = {"Prefer": "respond-async"}


@pytest.fixture(scope="module")
def endpoint() -> Iterator[Receiver]:
    """Run an endpoint."""
    with receiver() as one:
        yield one


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Run a gateway that may call this machine."""
    with pair(tmp_path_factory.mktemp("webhooks"), fetch_allow="127.0.0.1", admin_token="a1b2c3d4" * 5) as two:
        yield two


def hooked(gateway: Gateway, name: str, url: str, **policy: object) -> tuple[str, str]:
    """Make a tenant with a webhook; return a key of it and the secret, by what `tenant create` calls."""
    configured = load(gateway.environment)
    admin, hooks = administration(configured), endpoints(configured)

    def make(connection: Connection) -> str | None:
        tenant = admin.create_tenant(connection, name, {"webhook_url": url} | policy)
        return hooks.follow(connection, tenant.id, None, url)

    secret = in_database(make, configured)
    assert secret is not None
    return gateway.key(name), secret


def ask(gateway: Gateway, key: str, prompt: str = "p") -> str:
    """Begin an asynchronous generation; return its id."""
    answer = gateway.post(key, ASYNC, prompt=prompt)
    assert answer.status_code == 202
    generation: str = answer.json()["id"]
    return generation


def come(endpoint: Receiver, path: str, number: int = 1, seconds: float = 30.0) -> list[Received]:
    """Wait until so many tries came to a path."""
    wait_until(lambda: len(endpoint.at(path)) >= number, f"{number} tries at {path}", seconds)
    return endpoint.at(path)


def verified(one: Received, secret: str) -> Any:
    """Return the event, if the public package says that it is genuine."""
    return Webhook(secret).verify(one.body, dict(one.headers))


@pytest.mark.parametrize(("prompt", "state"), [("p", "settled"), ("[refuse]", "released"), ("[close]", "unknown")])
def test_the_end_of_an_asynchronous_generation_is_told(both: Pair, endpoint: Receiver, prompt: str, state: str) -> None:
    """Signed, small, once: id, state, model and cost, and where the rest is. Who waited for its answer is not told."""
    key, secret = hooked(both.gateway, f"told-{state}", f"{endpoint.url}/{state}?x=1")
    both.gateway.post(key, prompt=prompt)
    generation = ask(both.gateway, key, prompt)
    (one,) = come(endpoint, f"/{state}?x=1")
    event = verified(one, secret)
    assert event["type"] == f"generation.{state}"
    cost = {"settled": "0.040000", "released": "0.000000", "unknown": None}[state]
    assert event["data"] == {
        "id": generation,
        "state": state,
        "model": "flux-2-pro",
        "cost_yuan": cost,
        "location": f"/generations/{generation}",
    }
    shown = both.gateway.http.get(event["data"]["location"], headers={"Authorization": key}).json()
    assert (shown["state"], shown["cost_yuan"]) == (state, cost)
    assert one.headers["content-type"] == "application/json"
    assert len(one.body) < 1000
    assert "authorization" not in one.headers
    waiting = "SELECT id FROM webhook_events WHERE state = 'waiting'"
    wait_until(lambda: both.gateway.rows(waiting) == [], "it to be written down")
    assert len(endpoint.at(f"/{state}?x=1")) == 1


def test_what_fails_is_tried_again_with_the_same_id(both: Pair, endpoint: Receiver) -> None:
    """After 5 s, newly signed; a redirect is a failure and not followed."""
    endpoint.answers["/again"] = [307, 204]
    endpoint.headers["Location"] = f"{endpoint.url}/elsewhere"
    key, secret = hooked(both.gateway, "again", f"{endpoint.url}/again")
    ask(both.gateway, key)
    begun = time.monotonic()
    first, second = come(endpoint, "/again", 2)
    del endpoint.headers["Location"]
    assert 4 < time.monotonic() - begun < 12
    assert verified(first, secret) == verified(second, secret)
    assert first.id == second.id
    assert int(second.headers["webhook-timestamp"]) >= int(first.headers["webhook-timestamp"]) + 4
    assert endpoint.at("/elsewhere") == []


def test_a_dead_endpoint_holds_up_nobody_else(both: Pair, endpoint: Receiver) -> None:
    """While one endpoint says nothing to ten events, another one's come at once."""
    endpoint.answers["/dead"] = [0]
    dead, _ = hooked(both.gateway, "dead", f"{endpoint.url}/dead")
    alive, secret = hooked(both.gateway, "alive", f"{endpoint.url}/alive")
    for _ in range(10):
        ask(both.gateway, dead)
    come(endpoint, "/dead", 4)
    begun = time.monotonic()
    generation = ask(both.gateway, alive)
    (one,) = come(endpoint, "/alive")
    took = time.monotonic() - begun
    print(f"beside a dead endpoint with 10 events waiting, another one's came after {took:.1f} s")
    assert verified(one, secret)["data"]["id"] == generation
    assert took < 5
    assert len(endpoint.at("/dead")) == 4


def test_an_endpoint_that_is_gone_is_sent_nothing_more(both: Pair, endpoint: Receiver) -> None:
    """After 410 its events are given up, and listed; with its URL set again they can be delivered."""
    endpoint.answers["/gone"] = [410]
    key, secret = hooked(both.gateway, "gone", f"{endpoint.url}/gone")
    ask(both.gateway, key)
    come(endpoint, "/gone")
    ask(both.gateway, key)
    failed = "SELECT id FROM webhook_events WHERE state = 'failed'"
    wait_until(lambda: len(both.gateway.rows(failed)) == 2, "both to be given up")
    assert len(endpoint.at("/gone")) == 1
    listed = both.gateway.cli("webhook", "list", "--tenant", "gone", "--state", "failed", "--json")
    assert '"failure": "HTTP 410"' in listed.stdout
    endpoint.answers["/gone"] = [204]
    again = both.gateway.cli("tenant", "update", "gone", "--webhook-url", f"{endpoint.url}/gone")
    assert (again.returncode, "whsec_" in again.stderr) == (0, False)
    assert both.gateway.cli("webhook", "redeliver", "--tenant", "gone").returncode == 0
    assert {verified(one, secret)["type"] for one in come(endpoint, "/gone", 3)} == {"generation.settled"}


def test_a_secret_is_rotated_with_overlap(both: Pair, endpoint: Receiver) -> None:
    """The new one is alone on standard output, once; both sign; no listing and no row shows either."""
    made = both.gateway.cli("tenant", "create", "rotated", "--webhook-url", f"{endpoint.url}/rotated")
    (old,) = [word.rstrip(";") for word in made.stderr.split() if word.startswith("whsec_")]
    key = both.gateway.key("rotated")
    new = both.gateway.cli("webhook", "rotate-secret", "rotated").stdout.strip()
    assert new.startswith("whsec_")
    assert new != old
    ask(both.gateway, key)
    (one,) = come(endpoint, "/rotated")
    assert verified(one, old) == verified(one, new)
    assert len(one.headers["webhook-signature"].split()) == 2
    database = both.gateway.database_path
    kept = b"".join(path.read_bytes() for path in (database, Path(f"{database}-wal")) if path.exists())
    shown = both.gateway.cli("tenant", "show", "rotated", "--json").stdout
    for secret in (old, new):
        assert secret.removeprefix("whsec_").encode() not in kept
        assert secret not in both.gateway.log
        assert secret not in shown


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://hooks.example/x", "not https"),
        ("https://169.254.169.254/latest", "not public"),
        ("https://user:pass@hooks.example/", "not a plain"),
        ("ftp://hooks.example/", "not a plain"),
    ],
)
def test_a_url_that_may_not_be_called_is_refused_when_it_is_set(both: Pair, url: str, why: str) -> None:
    """By the command line and the admin API alike, and nothing is made."""
    refused = both.gateway.cli("tenant", "create", "nowhere", "--webhook-url", url)
    assert refused.returncode == 1
    assert "webhook_url" in refused.stderr
    assert why in refused.stderr
    answer = both.gateway.http.post(
        "/admin/api/tenants",
        json={"name": "nowhere", "webhook_url": url},
        headers={"Authorization": f"Bearer {'a1b2c3d4' * 5}"},
    )
    assert (answer.status_code, why in answer.json()["msg"]) == (400, True)
    assert both.gateway.rows("SELECT id FROM tenants WHERE name = 'nowhere'") == []


def test_the_admin_api_shows_a_secret_once(both: Pair, endpoint: Receiver) -> None:
    """When the URL is set, and not when the tenant is shown."""
    headers = {"Authorization": f"Bearer {'a1b2c3d4' * 5}"}
    http = both.gateway.http
    made = http.post("/admin/api/tenants", json={"name": "api"}, headers=headers).json()
    assert "webhook_secret" not in made
    url = f"{endpoint.url}/api"
    changed = http.patch("/admin/api/tenants/api", json={"webhook_url": url}, headers=headers).json()
    assert changed["policy"]["webhook_url"] == url
    assert "webhook_secret" not in http.get("/admin/api/tenants/api", headers=headers).json()
    ask(both.gateway, both.gateway.key("api"))
    (one,) = come(endpoint, "/api")
    assert verified(one, changed["webhook_secret"])["type"] == "generation.settled"


@pytest.mark.full
def test_budget_thresholds_are_told_once(both: Pair, endpoint: Receiver) -> None:
    """80 % and 100 % of a window, spent or held, each once."""
    key, secret = hooked(both.gateway, "spender", f"{endpoint.url}/budget", budget_total="0.253")
    assert both.gateway.post(key).status_code == 200
    assert both.gateway.post(key, prompt="[close]").status_code == 502
    events = [verified(one, secret) for one in come(endpoint, "/budget", 2)]
    assert {event["type"] for event in events} == {"budget.threshold"}
    told = sorted((event["data"] for event in events), key=lambda data: int(data["percent"]))
    assert [data["percent"] for data in told] == [80, 100]
    assert told[1] == {
        "window": "total",
        "start": "",
        "percent": 100,
        "limit_yuan": "0.253000",
        "spent_yuan": "0.040000",
        "held_yuan": "0.213000",
    }
    again = both.gateway.rows("SELECT count(*) AS number FROM webhook_events WHERE type = 'budget.threshold'")
    assert again == [{"number": 2}]


@pytest.mark.full
def test_nothing_is_lost_when_the_gateway_is_killed(fresh: Callable[..., Pair]) -> None:
    """What could not be delivered yet, and the generation that the crash made unknown, is told after it."""
    port = free_port()
    both = fresh(fetch_allow="127.0.0.1")
    key, secret = hooked(both.gateway, "team-2", f"http://127.0.0.1:{port}/late")
    settled = ask(both.gateway, key)
    tried = "SELECT id, attempts FROM webhook_events WHERE attempts > 0"
    wait_until(lambda: len(both.gateway.rows(tried)) == 1, "a first try, in vain")
    lost = ask(both.gateway, key, "[delay=20]")
    wait_until(lambda: bool(both.simulator.stats()["open"] == 1), "the call to be upstream")
    both.gateway.kill()
    with receiver(port) as endpoint:
        both.gateway.begin()
        events = [verified(one, secret) for one in come(endpoint, "/late", 2, seconds=90)]
    assert {(event["type"], event["data"]["id"]) for event in events} == {
        ("generation.settled", settled),
        ("generation.unknown", lost),
    }


def test_a_draining_gateway_tells_what_ends_meanwhile(fresh: Callable[..., Pair], endpoint: Receiver) -> None:
    """An event that comes of what it finishes, the very last too, is delivered before the process ends, and once."""
    both = fresh(fetch_allow="127.0.0.1")
    key, secret = hooked(both.gateway, "draining", f"{endpoint.url}/draining")
    generations = [ask(both.gateway, key, f"[delay={seconds}]") for seconds in (1, 2.5)]
    wait_until(lambda: bool(both.simulator.stats()["open"] == 2), "the calls to be upstream")
    assert both.gateway.stop() == 0
    told = [verified(one, secret)["data"] for one in endpoint.at("/draining")]
    assert [(data["id"], data["state"]) for data in told] == [(one, "settled") for one in generations]
    assert [row["state"] for row in both.gateway.rows("SELECT state FROM webhook_events")] == ["delivered"] * 2
