"""Whatever arrives, the answer is the contract's envelope, and the gateway lives on."""

import json

import pytest

from tests.flow.wire import exchange, request
from tests.servers.pair import Pair

BO1 = "Invalid request body. A JSON object is required"


@pytest.mark.parametrize(
    "sent",
    [
        b"hello\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/3.7\r\n\r\n",
        b"BREW /images/generate HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nbad header\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n",
        b"POST /images/generate HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /images/generate HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
def test_what_is_not_http_is_refused_in_the_envelope(shared: Pair, sent: bytes) -> None:
    """Noise, TLS, unknown methods and versions, broken headers get 400, and the connection is closed."""
    with shared.untouched():
        answer = exchange(shared.gateway.port, sent, await_close=True)
        assert (answer.status, answer.envelope.keys(), answer.envelope["code"]) == (400, {"code", "msg"}, -1)
        assert answer.headers["content-type"] == "application/json"
        assert answer.closed


def test_two_lengths_are_refused(shared: Pair) -> None:
    """Content-Length beside Transfer-Encoding, by which one request is smuggled in another, is refused."""
    headers = (f"Authorization: {shared.key}", "Content-Type: application/json", "Content-Length: 4")
    sent = request(*headers, "Transfer-Encoding: chunked", length=False) + b"0\r\n\r\nGET /livez HTTP/1.1\r\n\r\n"
    with shared.untouched():
        answer = exchange(shared.gateway.port, sent, await_close=True)
    assert (answer.status, answer.envelope["code"], answer.closed) == (400, -1, True)


@pytest.mark.parametrize("filler", ["one header", "many headers", "the path"])
def test_headers_have_a_size(shared: Pair, filler: str) -> None:
    """Headers beyond 64 KiB are refused as they come in, however they are made up."""
    match filler:
        case "one header":
            sent = request("X: " + "x" * 100_000)
        case "many headers":
            sent = request(*(f"X-{number}: {number}" for number in range(10_000)))
        case _:
            sent = request(path="/" + "x" * 100_000)
    answer = exchange(shared.gateway.port, sent, await_close=True)
    assert (answer.status, answer.envelope["code"], answer.closed) == (400, -1, True)


@pytest.mark.parametrize(
    "path", ["/%ff%fe", "/images/%ff.png", "/images/%00.png", "/images/..%2f..%2fsecret", "//", "/%"]
)
def test_an_odd_path_is_not_found_or_not_allowed(shared: Pair, path: str) -> None:
    """Invalid UTF-8, NUL, and ways out of a directory are refused like any other unknown path."""
    answer = exchange(shared.gateway.port, request(method="GET", path=path))
    assert answer.status in (400, 403, 404)
    assert answer.envelope.keys() == {"code", "msg"}


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", BO1),
        (b" ", BO1),
        (b"[]", BO1),
        (b"null", BO1),
        (b'"x"', BO1),
        (b"1", BO1),
        (b'{"model":"flux-2-pro","prompt":"p",}', BO1),
        (b'{"model":"flux-2-pro","prompt":"p"} {}', BO1),
        (b'{"model":"flux-2-pro","prompt":"\xff"}', BO1),
        ('{"model":"flux-2-pro","prompt":"p"}'.encode("utf-16"), BO1),
        ('{"model":"flux-2-pro","prompt":"p"}'.encode("utf-8-sig"), BO1),
        (b'{"model":"flux-2-pro","prompt":"p","seed":NaN}', BO1),
        (b'{"model":"flux-2-pro","prompt":"p","seed":Infinity}', BO1),
        (b"[" * 100_000, BO1),
        (b'{"a":' * 100_000, BO1),
        (
            b'{"model":"flux-2-pro","prompt":"p","mo\\u0064el":"flux-2-pro"}',
            "Invalid request body. Duplicate parameter: model",
        ),
        (
            b'{"model":"flux-2-pro","prompt":"a\\ud800b"}',
            "Invalid prompt parameter. Valid Unicode text without NUL is required",
        ),
        (
            b'{"model":"flux-2-pro","prompt":"a\\u0000b"}',
            "Invalid prompt parameter. Valid Unicode text without NUL is required",
        ),
        (
            b'{"model":"flux-2-pro","prompt":"p","seed":' + b"9" * 5000 + b"}",
            "Invalid seed parameter. Supported range: -9223372036854775808 to 18446744073709551615",
        ),
        (
            b'{"model":"flux-2-pro","prompt":"p","width":' + b"16" * 2500 + b"}",
            "Invalid width parameter. Maximum output size for flux-2-pro: 4194304 pixels",
        ),
    ],
    ids=lambda value: repr(value[:45]) if isinstance(value, bytes) else "",
)
def test_a_body_that_is_no_request_is_refused_by_name(shared: Pair, body: bytes, text: str) -> None:
    """Broken, foreign, deep, doubled and absurd JSON is 400 in the contract's words; nothing is reserved or sent."""
    headers = (f"Authorization: {shared.key}", "Content-Type: application/json")
    with shared.untouched():
        answer = exchange(shared.gateway.port, request(*headers, body=body))
    assert (answer.status, answer.envelope) == (400, {"code": -1, "msg": text})


def test_an_unknown_name_cannot_be_echoed_at_length(shared: Pair) -> None:
    """What a refusal repeats of a request is short and printable, lone surrogates and control characters included."""
    body = json.dumps({"model": "flux-2-pro", "prompt": "p", "\ud800\r\n\x00<script>" + "n" * 500: 1}).encode()
    headers = (f"Authorization: {shared.key}", "Content-Type: application/json")
    with shared.untouched():
        answer = exchange(shared.gateway.port, request(*headers, body=body))
    assert answer.status == 400
    assert answer.envelope["msg"].isprintable()
    assert len(answer.envelope["msg"]) < 500


@pytest.mark.parametrize(
    ("path", "status"),
    [("/generations/%00", 404), ("/generations?model=%00", 400), ("/tokens/%00", 404), ("/v1/models/%00", 404)],
)
def test_nothing_is_named_nul(shared: Pair, path: str, status: int) -> None:
    """A NUL in a path finds nothing, in a query it is refused, and no database is asked: PostgreSQL takes none."""
    answer = shared.gateway.http.get(path, headers={"Authorization": f"Bearer {shared.key}"})
    assert answer.status_code == status
