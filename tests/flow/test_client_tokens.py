"""Client tokens over HTTP: minted with a server key, good for a browser's few routes, and within their caps."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from gateway.money import format_yuan
from tests.servers.pair import Pair
from tests.servers.process import wait_until

SECONDS = 5.0
ONE_IMAGE = "0.040000"


def mint(both: Pair, key: str, **given: object) -> httpx.Response:
    """Ask for a token."""
    return both.gateway.http.post("/tokens", json=given, headers={"Authorization": f"Bearer {key}"})


def token(both: Pair, key: str, **given: object) -> str:
    """Mint a token and return it."""
    text: str = mint(both, key, **given).raise_for_status().json()["token"]
    return text


def call(both: Pair, method: str, path: str, key: str) -> httpx.Response:
    return both.gateway.http.request(method, path, headers={"Authorization": f"Bearer {key}"})


def shown(both: Pair, key: str, generation: str) -> int:
    """Return the status that whoever looks at a generation gets."""
    return call(both, "GET", f"/generations/{generation}", key).status_code


def reports(both: Pair, by: str) -> dict[str, Any]:
    """Return what `gateway spend` says, by that."""
    done = both.gateway.cli("spend", "--by", by, "--format", "json")
    return {row[by]: row for row in json.loads(done.stdout)["rows"]}


def test_a_token_generates_and_is_accounted_to_its_key(shared: Pair) -> None:
    """It makes an image and sees its generation; the ledger has it under the server key, and names the user."""
    key = shared.gateway.tenant("pages")
    begun = time.time()
    minted = mint(shared, key, user="ann", expires_in=60, models=["flux-2-pro"], max_images=3, max_cost="0.5")
    assert minted.status_code == 201
    assert minted.headers["cache-control"] == "no-store"
    said = minted.json()
    assert said.keys() == {
        "token",
        "id",
        "expires_at",
        "user",
        "models",
        "origins",
        "max_images",
        "max_cost",
        "requests_per_minute",
    }
    ends = datetime.fromisoformat(said["expires_at"]).astimezone(UTC).timestamp()
    assert begun + 55 < ends < begun + 65
    assert (said["user"], said["models"], said["max_images"], said["max_cost"]) == (
        "ann",
        ["flux-2-pro"],
        3,
        "0.500000",
    )
    assert said["origins"] is said["requests_per_minute"] is None
    answer = shared.gateway.post(said["token"])
    assert answer.status_code == 200, answer.text
    row = shared.gateway.generation(answer.headers["x-generation-id"])
    assert (row["token_id"], row["end_user"]) == (said["id"], "ann")
    assert reports(shared, "key")[row["key_id"]]["cost_yuan"] == ONE_IMAGE
    models = call(shared, "GET", "/models", said["token"]).json()["models"]
    assert [model["model"] for model in models] == ["flux-2-pro"]
    refused = shared.gateway.post(said["token"], model="gemini-2.5-flash-image")
    assert (refused.status_code, refused.json()["msg"]) == (
        403,
        "Model gemini-2.5-flash-image is not allowed for this API key",
    )
    assert said["token"] not in shared.gateway.log


def test_caps_hold_under_a_stampede(shared: Pair) -> None:
    """Of many requests at once exactly as many generate as the cap takes; the rest get 402 and say what is left."""
    key = shared.gateway.tenant("capped")
    text = token(shared, key, max_images=3)
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda number: shared.gateway.post(text, prompt=f"{number}"), range(12)))
    assert sorted(answer.status_code for answer in answers) == [200] * 3 + [402] * 9
    refused = shared.gateway.post(text)
    assert (refused.status_code, refused.headers["x-should-retry"]) == (402, "false")
    assert refused.json()["msg"] == "The client token is good for 3 images, and 0 are left"
    assert shared.gateway.post(key).status_code == 200, "the key itself is not capped"


def test_a_cap_of_money_is_never_passed(shared: Pair) -> None:
    """What a token's generations cost stays within its cap, which refuses as soon as one more might pass it."""
    key = shared.gateway.tenant("thrifty")
    most = shared.gateway.generation(shared.gateway.post(key).headers["x-generation-id"])["quote"]
    made = mint(shared, key, max_cost=format_yuan(most + 10_000)).json()
    statuses = [shared.gateway.post(made["token"]).status_code for _ in range(3)]
    assert statuses == [200, 402, 402]
    (row,) = shared.gateway.rows("SELECT * FROM tokens WHERE id = ?", made["id"])
    assert (row["spent"], row["held"], row["images_spent"], row["images_held"]) == (40_000, 0, 1, 0)
    refused = shared.gateway.post(made["token"]).json()["msg"]
    left, cap = format_yuan(most - 30_000), format_yuan(most + 10_000)
    assert refused == f"The client token is good for {cap} yuan: {left} left, this request may cost {format_yuan(most)}"


def test_what_was_refused_upstream_is_free_and_what_was_lost_is_held(shared: Pair) -> None:
    """A refusal gives an image back to the cap; an outcome that nobody knows does not."""
    key = shared.gateway.tenant("unlucky")
    text = token(shared, key, max_images=1)
    assert shared.gateway.post(text, prompt="[refuse]").status_code == 400
    assert shared.gateway.post(text, prompt="[cut]").status_code == 502
    assert shared.gateway.post(text).status_code == 402


def test_rates_of_tokens_lie_within_their_keys(shared: Pair) -> None:
    """A token's own rate refuses it alone; what its key has is shared by all its tokens."""
    key = shared.gateway.tenant("rated", requests_per_minute=5)
    slow, other = token(shared, key, requests_per_minute=2), token(shared, key)
    seen = [shared.gateway.post(slow) for _ in range(3)]
    assert [answer.status_code for answer in seen] == [200, 200, 429]
    assert seen[2].json()["msg"] == "Rate limit exceeded: token-requests"
    assert '"token-requests";q=2;w=60' in seen[2].headers["ratelimit-policy"]
    assert [shared.gateway.post(other).status_code for _ in range(4)] == [200, 200, 200, 429]


def test_users_do_not_see_each_other(shared: Pair) -> None:
    """A generation belongs to the user, or to the one token without a user; the server key sees all of them."""
    key = shared.gateway.tenant("apart")
    ann, again, bob = (token(shared, key, user=user) for user in ("ann", "ann", "bob"))
    nobody, other = token(shared, key), token(shared, key)
    made = {text: shared.gateway.post(text).headers["x-generation-id"] for text in (ann, nobody, key)}
    assert [shown(shared, who, made[ann]) for who in (ann, again, key)] == [200, 200, 200]
    assert [shown(shared, who, made[ann]) for who in (bob, nobody)] == [404, 404]
    assert [shown(shared, who, made[nobody]) for who in (nobody, other, ann, key)] == [200, 404, 404, 200]
    assert [shown(shared, who, made[key]) for who in (ann, bob, nobody)] == [404, 404, 404]


def test_an_idempotency_key_is_its_users_own(shared: Pair) -> None:
    """Whoever guesses another user's key gets an image of their own; the user repeats with a renewed token."""
    key = shared.gateway.tenant("repeats")
    headers = {"Idempotency-Key": "one"}
    ann, renewed, bob = (token(shared, key, user=user) for user in ("ann", "ann", "bob"))
    first, guessed, server = (shared.gateway.post(text, headers) for text in (ann, bob, key))
    ids = [answer.headers["x-generation-id"] for answer in (first, guessed, server)]
    assert len(set(ids)) == 3
    repeated = shared.gateway.post(renewed, headers)
    assert (repeated.headers["x-generation-id"], repeated.headers["idempotent-replayed"]) == (ids[0], "true")
    assert shared.gateway.post(renewed, headers, prompt="another").status_code == 422
    stored = shared.gateway.generation(ids[0])["idempotency_key"]
    assert " " in stored, "no server key can send it"
    assert shared.gateway.post(key, {"Idempotency-Key": stored}).status_code == 400


def test_the_cache_lets_a_narrower_token_read_nothing(shared: Pair) -> None:
    """A reply that the tenant has cached is not for a token that may not ask for its model; and a hit uses no cap."""
    key = shared.gateway.tenant("cached", cache="all")
    narrow = token(shared, key, models=["gemini-2.5-flash-image"])
    spent = token(shared, key, max_images=1, user="bob")
    assert shared.gateway.post(spent, prompt="first").status_code == 200
    cached = shared.gateway.post(key, prompt="shared")
    with shared.untouched():
        assert shared.gateway.post(narrow, prompt="shared").status_code == 403
        hit = shared.gateway.post(spent, prompt="shared")
    assert (hit.status_code, hit.json()["usage"]["cost"]) == (200, 0)
    assert shown(shared, spent, cached.headers["x-generation-id"]) == 404, "its images may be shared, its record is not"


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"models": ["gemini-2.5-flash-image"]}, "models: gemini-2.5-flash-image is not allowed for this API key"),
        ({"max_cost": "3.5"}, "max_cost: must be at most 3.000000, as the tenant's budget is"),
        ({"origins": ["https://evil.example"]}, "origins: https://evil.example is not among the tenant's origins"),
        ({"tenant": "other"}, "'tenant': is no option of a client token"),
        ({"expires_in": 36000}, "expires_in: must be a whole number between 60 and 3600"),
    ],
)
def test_what_is_wider_is_refused(shared: Pair, given: dict[str, object], says: str) -> None:
    """It is 400 with the option's name, and nothing is made."""
    name = f"strict-{next(iter(given))}".replace("_", "-")
    key = shared.gateway.tenant(name, models="flux-2-pro", budget_day="3")
    refused = mint(shared, key, **given)
    assert refused.status_code == 400
    assert refused.json()["msg"].startswith(says)
    (row,) = shared.gateway.rows(
        "SELECT count(*) AS n FROM tokens JOIN keys ON keys.id = key_id JOIN tenants"
        " ON tenants.id = tenant_id WHERE name = ?",
        name,
    )
    assert row["n"] == 0


def test_a_token_is_good_for_nothing_else(shared: Pair) -> None:
    """It mints and revokes no tokens."""
    text = token(shared, shared.key)
    for method, path in (("POST", "/tokens"), ("DELETE", "/tokens/tok_x"), ("DELETE", "/tokens?user=ann")):
        refused = call(shared, method, path, text)
        assert (refused.status_code, refused.json()["msg"]) == (403, "Not allowed with a client token")


def test_tokens_are_revoked_by_tenant_and_operator(shared: Pair) -> None:
    """Alone, by user, by the tenant or from the command line: refused within seconds; a stranger's is not found."""
    key, stranger = shared.gateway.tenant("revoking"), shared.gateway.tenant("revoking-stranger")
    made = [mint(shared, key, user=user).json() for user in ("ann", "bob", "bob", "eve")]

    def refused(one: dict[str, Any]) -> bool:
        return call(shared, "GET", "/models", one["token"]).status_code == 401

    assert not any(refused(one) for one in made)
    assert call(shared, "DELETE", f"/tokens/{made[0]['id']}", stranger).status_code == 404
    assert call(shared, "DELETE", f"/tokens/{made[0]['id']}", key).status_code == 204
    assert call(shared, "DELETE", "/tokens?user=bob", key).json() == {"revoked": 2}
    assert call(shared, "DELETE", "/tokens", key).status_code == 400
    done = shared.gateway.cli("key", "revoke", "--tenant", "revoking", "--user", "eve")
    assert (done.returncode, "client tokens of eve revoked: 1" in done.stderr) == (0, True), done.stderr
    wait_until(lambda: all(refused(one) for one in made), "the tokens to be refused", SECONDS)


def test_a_token_need_not_wait(shared: Pair) -> None:
    """An asynchronous request of a token is its own to look at, also while another's generation answers it."""
    key = shared.gateway.tenant("patient", cache="all")
    text = token(shared, key, max_images=1)
    prefer = {"Prefer": "respond-async"}
    accepted = [shared.gateway.post(text, prefer, prompt="[delay=1]") for _ in range(2)]
    assert [answer.status_code for answer in accepted] == [202, 202]
    ids = [answer.json()["id"] for answer in accepted]
    assert [shown(shared, text, one) for one in ids] == [200, 200]
    stranger = token(shared, key)
    assert [shown(shared, stranger, one) for one in ids] == [404, 404]
    for one in ids:
        ended = call(shared, "GET", f"/generations/{one}?wait=20", text).json()
        assert (ended["state"], len(ended["reply"]["data"])) == ("settled", 1)
    assert shared.gateway.post(text).status_code == 402
