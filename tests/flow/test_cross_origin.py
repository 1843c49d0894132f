"""Pages of other origins: who may call, what they may read, and that nobody may who was not named."""

from collections.abc import Mapping

import httpx
import pytest

from gateway.api.pages import EXPOSED
from tests.flow.test_client_tokens import token
from tests.flow.wire import exchange, request
from tests.servers.gateway import GENERATE, elsewhere
from tests.servers.pair import Pair
from tests.servers.process import wait_until

SHOP, TILL, NOBODY = "https://shop.example", "https://till.example:8443", "https://evil.example"
SECONDS = 5.0


@pytest.fixture(scope="module")
def key(shared: Pair) -> str:
    """Give a key of a tenant with two origins."""
    made = shared.gateway.tenant("with-pages", origins=f"{SHOP},{TILL}")
    wait_until(lambda: preflight(shared, SHOP).status_code == 204, "the origins to be known", SECONDS)
    return made


def preflight(both: Pair, origin: str, path: str = GENERATE, **headers: str) -> httpx.Response:
    """Ask as a browser does before it posts."""
    asked = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type",
    }
    return both.gateway.http.options(path, headers=asked | headers)


def allowed(answer: httpx.Response) -> str | None:
    """Return the origin whose pages may read an answer; show what holds for each."""
    assert "access-control-allow-credentials" not in answer.headers
    assert "Origin" in answer.headers.get_list("vary", split_commas=True)
    origin: str | None = answer.headers.get("access-control-allow-origin")
    exposed = answer.headers.get("access-control-expose-headers")
    assert (exposed is None) == (origin is None)
    assert exposed is None or {name.strip() for name in exposed.split(",")} == set(EXPOSED)
    return origin


def test_a_preflight_needs_no_key(shared: Pair, key: str) -> None:
    """It is answered by the origins of all tenants, with what may be sent, for ten minutes."""
    del key
    asked = "authorization, x-stainless-lang,openai-organization,x-evil,*"
    answer = preflight(shared, TILL, **{"Access-Control-Request-Headers": asked})
    assert (answer.status_code, allowed(answer), answer.content) == (204, TILL, b"")
    taken = {name.strip() for name in answer.headers["access-control-allow-headers"].split(",")}
    assert {"Authorization", "Content-Type", "Idempotency-Key", "Prefer", "x-stainless-lang"} <= taken
    assert "openai-organization" in taken
    assert not taken & {"x-evil", "*"}
    assert answer.headers["access-control-allow-methods"] == "GET, HEAD, POST"
    assert answer.headers["access-control-max-age"] == "600"


@pytest.mark.parametrize("origin", [NOBODY, "null", "*", SHOP + ":8443", SHOP.replace("https", "http"), SHOP + "/"])
def test_nobody_else_is_let_in(shared: Pair, key: str, origin: str) -> None:
    """An origin that no tenant named is refused, preflight or not, whatever its key."""
    with shared.untouched():
        for answer in (preflight(shared, origin), shared.gateway.post(key, {"Origin": origin})):
            assert (answer.status_code, allowed(answer)) == (403, None)
            assert answer.json() == {"code": -1, "msg": f"Origin {origin} is not allowed"}


def test_a_page_may_read_what_it_is_answered(shared: Pair, key: str) -> None:
    """Success, and each kind of error: also that the token is no good any more, and a wrong path."""
    page = {"Origin": SHOP}
    capped = token(shared, key, max_images=1)
    answers = [shared.gateway.post(capped, page) for _ in range(2)]
    answers.append(shared.gateway.post("igw_ct_gone", {**page, **dict([elsewhere()])}))
    answers.append(shared.gateway.post(capped, page, model="nothing"))
    answers.append(shared.gateway.http.get("/nowhere", headers=page))
    answers.append(shared.gateway.http.put(GENERATE, headers=page))
    assert [answer.status_code for answer in answers] == [200, 402, 401, 400, 404, 405]
    assert {allowed(answer) for answer in answers} == {SHOP}
    assert allowed(shared.gateway.post(key)) is None, "no page, nothing to say"


def test_the_request_itself_goes_by_the_callers_own_list(shared: Pair, key: str) -> None:
    """A token for one origin is refused from the other, and so is another tenant's key; both pages may read why."""
    other = shared.gateway.tenant("without-pages")
    shop_only = token(shared, key, origins=[SHOP])
    assert shared.gateway.post(shop_only, {"Origin": SHOP}).status_code == 200
    with shared.untouched():
        for wrong in (shared.gateway.post(shop_only, {"Origin": TILL}), shared.gateway.post(other, {"Origin": TILL})):
            assert (wrong.status_code, allowed(wrong)) == (403, TILL)
            assert wrong.json()["msg"] == f"Origin {TILL} is not allowed for this API key"


@pytest.mark.parametrize("origin", [NOBODY, TILL])
def test_a_wrong_origin_is_refused_before_the_body(shared: Pair, key: str, origin: str) -> None:
    """The answer comes while nothing of the body was sent, and ends the connection."""
    shop_only = token(shared, key, origins=[SHOP])
    head = request(
        f"Authorization: Bearer {shop_only}",
        f"Origin: {origin}",
        "Content-Type: application/json",
        "Content-Length: 1000000",
        length=False,
    )
    answer = exchange(shared.gateway.port, head, await_close=True)
    assert (answer.status, answer.closed) == (403, True)


def test_the_gateways_own_pages_are_at_home(shared: Pair) -> None:
    """A page of the gateway's public address, or of the one it was reached at, is of no other origin."""
    for origin in (shared.gateway.url, f"http://localhost:{shared.gateway.port}"):
        headers = {"Origin": origin, "Host": origin.removeprefix("http://")}
        answer = shared.gateway.post(shared.key, headers)
        assert (answer.status_code, allowed(answer)) == (200, None)


def test_the_admin_api_is_for_no_page(shared: Pair, key: str) -> None:
    """Not even for one that a tenant allows."""
    del key
    for answer in (
        preflight(shared, SHOP, "/admin/api/tenants"),
        shared.gateway.http.get("/admin/api/tenants", headers={"Origin": SHOP}),
    ):
        assert (answer.status_code, allowed(answer)) == (403, None)


def test_a_kept_image_may_be_read_by_anybody(shared: Pair) -> None:
    """Its link is the permission, as ever; so caches need not tell pages apart."""
    link = shared.post().json()["data"][0]["image"]
    headers: Mapping[str, str] = {"Origin": NOBODY}
    image = shared.gateway.http.get(link, headers=headers)
    assert (image.status_code, image.headers["access-control-allow-origin"]) == (200, "*")
    assert "vary" not in image.headers
    assert preflight(shared, NOBODY, link.partition(str(shared.gateway.port))[2]).status_code == 204


@pytest.mark.full
def test_an_origin_that_is_taken_away_is_refused(shared: Pair) -> None:
    """Within seconds, for the preflight and for the request; one that is added is taken as soon."""
    passing = "http://localhost:3000"
    key = shared.gateway.tenant("passing", origins=passing)

    def statuses() -> tuple[int, int]:
        page = {"Origin": passing, "Authorization": key}
        return preflight(shared, passing).status_code, shared.gateway.http.get("/models", headers=page).status_code

    wait_until(lambda: statuses() == (204, 200), "the origin to be taken", SECONDS)
    assert shared.gateway.cli("tenant", "update", "passing", "--origins", "").returncode == 0
    wait_until(lambda: statuses() == (403, 403), "the origin to be refused", SECONDS)
