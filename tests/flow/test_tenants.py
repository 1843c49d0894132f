"""Who may do what: changes by the command line reach a running gateway within five seconds."""

import json
from collections.abc import Iterator

import httpx
import pytest

from gateway.clock import now
from tests.servers.gateway import elsewhere
from tests.servers.pair import Pair, pair
from tests.servers.process import wait_until

SECONDS = 5.0
KEY = {"code": -1, "msg": "API key is invalid or expired"}


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Share one pair among the tests of this file, each with tenants of its own."""
    with pair(tmp_path_factory.mktemp("tenants")) as two:
        yield two


def known(both: Pair, key: str) -> bool:
    """Say whether a key is taken."""
    return both.gateway.http.get("/models", headers=[("Authorization", key), elsewhere()]).status_code == 200


def run(both: Pair, *arguments: str) -> str:
    """Run a command that is to succeed; return what it printed."""
    done = both.gateway.cli(*arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_disabled_tenant_is_refused_and_an_enabled_one_is_taken_again(both: Pair) -> None:
    """`tenant disable` refuses all of a tenant's keys within five seconds, `tenant enable` undoes it as fast."""
    keys = [both.gateway.tenant("switched"), both.gateway.key("switched")]
    assert all(known(both, key) for key in keys)
    run(both, "tenant", "disable", "switched")
    wait_until(lambda: not any(known(both, key) for key in keys), "the keys to be refused", SECONDS)
    with both.untouched():
        assert both.gateway.post(keys[0]).json() == KEY
    run(both, "tenant", "enable", "switched")
    wait_until(lambda: all(known(both, key) for key in keys), "the keys to be taken again", SECONDS)


def test_a_revoked_key_is_refused_and_its_siblings_are_not(both: Pair) -> None:
    """`key revoke` refuses one key within five seconds; the tenant's other keys go on."""
    lost, good = both.gateway.tenant("careless"), both.gateway.key("careless")
    assert known(both, lost)
    listed = json.loads(run(both, "key", "list", "careless", "--json"))
    assert lost not in json.dumps(listed)
    run(both, "key", "revoke", min(one["id"] for one in listed))
    wait_until(lambda: not known(both, lost), "the key to be refused", SECONDS)
    assert both.gateway.post(lost).json() == KEY
    assert known(both, good)


def test_a_key_ends_when_it_expires(both: Pair) -> None:
    """An expired key is refused at its moment, not when it is next looked up."""
    both.gateway.tenant("temporary")
    expires_at = now() + 1500
    key = both.gateway.key("temporary", expires_at=expires_at)
    assert known(both, key)
    wait_until(lambda: not known(both, key), "the key to expire", SECONDS)
    assert expires_at <= now() < expires_at + 1000
    assert both.gateway.post(key).json() == KEY


def test_a_rotated_key_overlaps_with_its_successor(both: Pair) -> None:
    """`key rotate` prints a successor with the same limits; the old key works for another day at most."""
    old = both.gateway.tenant("orderly")
    (before,) = json.loads(run(both, "key", "list", "orderly", "--json"))
    new = run(both, "key", "rotate", before["id"])
    assert known(both, old)
    assert known(both, new)
    rows = both.gateway.rows("SELECT * FROM keys WHERE id = ?", before["id"])
    assert 0 < rows[0]["expires_at"] - now() <= 24 * 3600 * 1000


def test_a_tenant_sees_and_uses_its_own_models_alone(both: Pair) -> None:
    """`--models` bounds what `GET /models` lists and what may be asked for: anything else is 403, and free."""
    key = both.gateway.tenant("choosy", models="gemini-2.5-flash-image")
    listed = both.gateway.http.get("/models", headers={"Authorization": f"Bearer {key}"}).json()["models"]
    assert [model["model"] for model in listed] == ["gemini-2.5-flash-image"]
    assert both.gateway.post(key, model="gemini-2.5-flash-image").status_code == 200
    with both.untouched():
        answer = both.gateway.post(key)
        assert (answer.status_code, answer.json()["code"]) == (403, -1)
        text = both.gateway.post(key, model="nope").json()["msg"]
        assert text == "Invalid model parameter. Supported models: gemini-2.5-flash-image"
    run(both, "tenant", "update", "choosy", "--models", "")
    wait_until(lambda: both.gateway.post(key).status_code == 200, "the list to be lifted", SECONDS)


def test_what_a_model_takes_is_listed_for_those_who_may_know(both: Pair) -> None:
    """`GET /models` needs a key, and tells provider, parameters, limits and the most that an image may cost."""
    assert both.gateway.http.get("/models").json() == KEY
    models = both.gateway.http.get("/models", headers={"Authorization": both.key}).json()["models"]
    flux, gemini = models[0], models[2]
    assert (flux["provider"], flux["reply"], flux["size"]["multiple_of"]) == ("flux", "url", 16)
    assert {"width", "seed", "input_image_8"} <= set(flux["parameters"])
    assert (gemini["provider"], gemini["reply"], gemini["size"]) == ("gemini", "base64", None)
    assert set(gemini["parameters"]).isdisjoint({"width", "height", "seed", "safety_tolerance", "output_format"})
    assert flux["image_inputs"] == {"maximum": 8, "advised": 6}
    assert float(gemini["price"]["most_yuan"]) > 0


def test_a_budget_is_a_wall_and_moves_within_seconds(both: Pair) -> None:
    """What does not fit is 402 with the window, what is left and what was asked; a raised budget is heard soon."""
    key = both.gateway.tenant("poor", budget_day="0.2")
    with both.untouched():
        answer = both.gateway.post(key)
    assert (answer.status_code, answer.headers["x-should-retry"]) == (402, "false")
    assert answer.json()["msg"].startswith(
        "The daily budget of 0.200000 yuan is exhausted: 0.200000 left, this request may cost 0.213000. It resets at "
    )
    run(both, "tenant", "update", "poor", "--budget-day", "1")
    wait_until(lambda: both.gateway.post(key).status_code == 200, "the budget to be raised", SECONDS)


def test_prompts_are_not_kept_for_a_tenant_who_does_not_want_it(both: Pair) -> None:
    """With `--keep-prompts no` a prompt is nowhere in the data directory or the log."""
    key, word = both.gateway.tenant("private", keep_prompts="no"), "quetzalcoatlus"
    assert both.gateway.post(key, prompt=word).status_code == 200
    refused = both.gateway.post(key, prompt=f"{word} [refuse=no {word} please]")
    assert refused.json()["msg"] == f"no {word} please"
    broken = both.gateway.post(key, prompt=f"{word} [status=500 refuse=broken by {word}]")
    assert broken.status_code in (500, 502)
    kept = b"".join(path.read_bytes() for path in both.gateway.data_dir.glob("gateway.sqlite3*"))
    assert word.encode() not in kept
    assert word not in both.gateway.log


def test_whoever_guesses_keys_is_slowed_and_nobody_else(both: Pair) -> None:
    """After twenty failures an address gets 429 with Retry-After; a good key works from it, others are not touched."""
    there = elsewhere()

    def look(key: str) -> httpx.Response:
        return both.gateway.http.get("/models", headers=[("Authorization", key), there])

    answers = [look(f"igw_sk_{number:049d}") for number in range(30)]
    assert {answer.status_code for answer in answers[:20]} == {401}
    assert {answer.status_code for answer in answers[21:]} == {429}
    assert answers[-1].json()["code"] == -1
    assert int(answers[-1].headers["retry-after"]) >= 1
    assert look(both.key).status_code == 200
    assert both.gateway.post("bad").status_code == 401
