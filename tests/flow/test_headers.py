"""Headers, method and path: what is taken, and in which words everything else is refused."""

import sqlite3
from contextlib import closing

import httpx
import orjson
import pytest

from tests.servers.gateway import GENERATE, elsewhere
from tests.servers.pair import Pair

BODY = orjson.dumps({"model": "flux-2-pro", "prompt": "p", "width": 64, "height": 64})
KEY = "API key is invalid or expired"
CONTENT_TYPE = "Invalid Content-Type header. Supported type: application/json"


JSON = ("Content-Type", "application/json")


def send(both: Pair, *headers: tuple[str, str], method: str = "POST", path: str = GENERATE) -> httpx.Response:
    """Send the body with exactly these headers."""
    return both.gateway.http.request(method, path, content=BODY, headers=[elsewhere(), *headers])


def assert_refused(answer: httpx.Response, status: int, text: str) -> None:
    """Show that an answer is the envelope, and nothing but the envelope."""
    assert (answer.status_code, answer.json()) == (status, {"code": -1, "msg": text})
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-request-id"]


@pytest.mark.parametrize("form", ["{}", "Bearer {}", "bearer {}", "BEARER  {}"])
def test_a_key_is_taken_bare_and_as_a_bearer(shared: Pair, form: str) -> None:
    """Both forms of the document work; the scheme's case and the number of spaces do not matter."""
    answer = send(shared, ("Authorization", form.format(shared.key)), JSON)
    assert (answer.status_code, answer.json()["code"]) == (200, 0)


@pytest.mark.parametrize("form", ["", "Bearer", "Bearer wrong", "Basic {}", "{} {}", "Bearer {},", "{}x"])
def test_another_form_is_no_key(shared: Pair, form: str) -> None:
    """An empty, misspelt or repeated key is refused in the document's words, and nothing is started."""
    with shared.untouched():
        value = form.format(shared.key, shared.key)
        answer = send(shared, ("Authorization", value), JSON)
        assert_refused(answer, 401, KEY)
        assert answer.headers["www-authenticate"] == "Bearer"  # RFC 9110, 15.5.2


def test_a_damaged_key_is_no_key(shared: Pair) -> None:
    """A key with one character changed is refused, wherever that character is."""
    with shared.untouched():
        for place in (0, 7, 20, len(shared.key) - 1):
            changed = "A" if shared.key[place] != "A" else "B"
            damaged = shared.key[:place] + changed + shared.key[place + 1 :]
            assert_refused(send(shared, ("Authorization", damaged), JSON), 401, KEY)


def test_a_stored_digest_is_no_key(shared: Pair) -> None:
    """What the database holds of a key opens nothing."""
    with closing(sqlite3.connect(f"file:{shared.gateway.database_path}?mode=ro", uri=True)) as connection:
        digests = [digest for (digest,) in connection.execute("SELECT digest FROM keys")]
    with shared.untouched():
        assert digests
        for digest in digests:
            assert_refused(send(shared, ("Authorization", digest), JSON), 401, KEY)


def test_two_keys_are_no_key(shared: Pair) -> None:
    """Two Authorization headers are refused even if one is good, and in whichever order they come."""
    with shared.untouched():
        for values in ((shared.key, "other"), ("other", shared.key), (shared.key, shared.key)):
            headers = [("Authorization", value) for value in values]
            assert_refused(send(shared, *headers, JSON), 401, KEY)


@pytest.mark.parametrize("name", ["x-key", "x-api-key", "api-key", "cookie", "proxy-authorization"])
def test_a_key_elsewhere_is_no_key(shared: Pair, name: str) -> None:
    """A key counts in the Authorization header alone."""
    with shared.untouched():
        assert_refused(send(shared, (name, shared.key), JSON), 401, KEY)


def test_a_key_in_the_url_is_no_key(shared: Pair) -> None:
    """A key in the query is refused, and does not reach the log."""
    with shared.untouched():
        answer = send(shared, JSON, path=f"{GENERATE}?api_key={shared.key}")
        assert_refused(answer, 401, KEY)
    assert shared.key not in shared.gateway.log


@pytest.mark.parametrize(
    "media_type",
    ["application/json", "application/json; charset=utf-8", "Application/JSON", "application/json;charset=UTF-8"],
)
def test_json_is_taken_in_any_case_and_as_utf_8(shared: Pair, media_type: str) -> None:
    """The media type's case and a UTF-8 charset make no difference."""
    assert send(shared, ("Authorization", shared.key), ("Content-Type", media_type)).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("Content-Type", "text/plain")],
        [("Content-Type", "application/x-www-form-urlencoded")],
        [("Content-Type", "multipart/form-data; boundary=x")],
        [("Content-Type", "application/json; charset=utf-16")],
        [("Content-Type", "application/jsonl")],
    ],
)
def test_what_is_not_plain_json_is_refused(shared: Pair, headers: list[tuple[str, str]]) -> None:
    """Other media types (curl's default among them), charsets and compressed bodies are 415."""
    with shared.untouched():
        assert_refused(send(shared, ("Authorization", shared.key), *headers), 415, CONTENT_TYPE)


def test_a_compressed_body_is_refused(shared: Pair) -> None:
    """What is compressed is told so, and not that its type is wrong."""
    answer = send(shared, ("Authorization", shared.key), JSON, ("Content-Encoding", "gzip"))
    assert_refused(answer, 415, "Invalid Content-Encoding header. Compressed bodies are not supported")


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
def test_another_method_is_refused_with_the_one_that_is_allowed(shared: Pair, method: str) -> None:
    """The endpoint takes POST alone, and says so."""
    with shared.untouched():
        answer = send(shared, ("Authorization", shared.key), JSON, method=method)
        assert_refused(answer, 405, "Method not allowed")
        assert answer.headers["allow"] == "POST"


def test_a_head_request_gets_no_body(shared: Pair) -> None:
    """HEAD on the endpoint is 405 like any other method, without a body (RFC 9110, 9.3.2)."""
    answer = shared.gateway.http.head(GENERATE)
    assert (answer.status_code, answer.content) == (405, b"")


@pytest.mark.parametrize(
    "path",
    ["/", "/images/generate/", "/images/generate/x", "/images", "/docs/", "/redoc", "/metrics"],
)
def test_an_unknown_path_is_the_envelope_too(shared: Pair, path: str) -> None:
    """What is not there is 404 in the contract's form; nothing redirects, and the metrics are on their own port."""
    with shared.untouched():
        answer = send(shared, ("Authorization", shared.key), JSON, path=path)
        assert_refused(answer, 404, "Not found")


def test_posting_to_another_name_beside_the_endpoint_starts_nothing(shared: Pair) -> None:
    """`POST /images/nothing` is not found, although images are read by such paths."""
    with shared.untouched():
        answer = send(shared, ("Authorization", shared.key), JSON, path="/images/nothing")
    assert_refused(answer, 404, "Not found")


def test_a_request_id_is_kept_if_it_is_a_plain_one(shared: Pair) -> None:
    """A caller's own request id comes back and into the ledger; one that could break a log line does not."""
    plain = send(shared, ("Authorization", shared.key), JSON, ("X-Request-Id", "mine-1.2"))
    assert plain.headers["x-request-id"] == "mine-1.2"
    assert shared.gateway.generation(plain.headers["x-generation-id"])["request_id"] == "mine-1.2"
    odd = send(shared, ("X-Request-Id", "a b\tc" + "x" * 300))
    assert "a b" not in odd.headers["x-request-id"]
