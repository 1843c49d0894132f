"""What is decided before a body is read, and what becomes of a body that is too large."""

import socket

import pytest

from tests.flow.wire import exchange, request
from tests.servers.gateway import elsewhere
from tests.servers.pair import Pair

HUGE = 200 * 1024 * 1024


def test_without_a_key_not_a_byte_of_the_body_is_awaited(shared: Pair) -> None:
    """A promise of 200 MB from nobody is answered 401 at once, although no byte of it ever comes."""
    with shared.untouched():
        sent = request(
            ": ".join(elsewhere()), "Content-Type: application/json", f"Content-Length: {HUGE}", length=False
        )
        answer = exchange(shared.gateway.port, sent)
    assert (answer.status, answer.envelope) == (401, {"code": -1, "msg": "API key is invalid or expired"})
    assert answer.seconds < 2


def test_of_another_media_type_not_a_byte_of_the_body_is_awaited(shared: Pair) -> None:
    """What is not JSON is refused by its headers alone."""
    headers = (f"Authorization: {shared.key}", "Content-Type: text/plain", f"Content-Length: {HUGE}")
    answer = exchange(shared.gateway.port, request(*headers, length=False), await_close=True)
    assert (answer.status, answer.closed) == (415, True)


def test_a_caller_who_asks_first_is_answered_before_sending(shared: Pair) -> None:
    """With `Expect: 100-continue` a bad key is told at once; of a good one the body is asked (RFC 9110, 10.1.1)."""
    headers = (
        "Content-Type: application/json",
        "Expect: 100-continue",
        "Content-Length: 1000000",
        ": ".join(elsewhere()),
    )
    assert exchange(shared.gateway.port, request("Authorization: bad", *headers, length=False)).status == 401
    good = f"Authorization: {shared.key}"
    assert exchange(shared.gateway.port, request(good, *headers, length=False)).status == 100


@pytest.fixture(scope="module")
def narrow(shared: Pair) -> str:
    """Return the key of a tenant whose bodies may be 1 MB."""
    return shared.gateway.tenant("narrow", max_body_mb=1)


def test_a_body_that_says_it_is_too_large_is_refused_at_once(shared: Pair, narrow: str) -> None:
    """By its Content-Length alone: 413 naming the cap, and the connection is closed with the rest unread."""
    headers = (f"Authorization: {narrow}", "Content-Type: application/json", f"Content-Length: {1024 * 1024 + 1}")
    with shared.untouched():
        answer = exchange(shared.gateway.port, request(*headers, length=False), await_close=True)
    assert (answer.status, answer.envelope["msg"]) == (413, "Request body is too large. Maximum size: 1MB")
    assert (answer.headers["connection"], answer.closed) == ("close", True)


def test_a_body_that_does_not_say_how_large_it_is_is_counted(shared: Pair, narrow: str) -> None:
    """A chunked body is refused as soon as the cap is passed; what would follow is not waited for."""
    headers = (f"Authorization: {narrow}", "Content-Type: application/json", "Transfer-Encoding: chunked")
    chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
    with shared.untouched():
        answer = exchange(shared.gateway.port, request(*headers, length=False), *[chunk] * 17, await_close=True)
    assert (answer.status, answer.envelope["msg"]) == (413, "Request body is too large. Maximum size: 1MB")
    assert (answer.headers["connection"], answer.closed) == ("close", True)


def test_a_body_of_exactly_the_cap_is_read(shared: Pair, narrow: str) -> None:
    """The cap itself is allowed: the body is then judged for what it says."""
    body = b'{"model":"flux-2-pro"}'.ljust(1024 * 1024)
    headers = (f"Authorization: {narrow}", "Content-Type: application/json")
    answer = exchange(shared.gateway.port, request(*headers, body=body))
    assert (answer.status, answer.envelope["msg"]) == (400, "Invalid prompt parameter. A non-empty text is required")


def test_more_than_was_promised_is_not_read_as_part_of_the_body(shared: Pair, narrow: str) -> None:
    """A Content-Length below the truth ends the body where it says; the rest belongs to no request."""
    body = b'{"model":"flux-2-pro"}'
    headers = (f"Authorization: {narrow}", "Content-Type: application/json", f"Content-Length: {len(body)}")
    with shared.untouched():
        sent = request(*headers, length=False) + body + b',"prompt":"p"}\r\n\r\n'
        answer = exchange(shared.gateway.port, sent)
    assert answer.status == 400


def test_a_caller_who_leaves_in_the_middle_of_a_body_leaves_no_trace(shared: Pair) -> None:
    """Half a body and a closed connection reserve nothing and are no error of the gateway's."""
    headers = (f"Authorization: {shared.key}", "Content-Type: application/json", "Content-Length: 1000")
    with shared.untouched():
        with socket.create_connection(("127.0.0.1", shared.gateway.port), timeout=5) as connection:
            connection.sendall(request(*headers, length=False) + b'{"model":')
        assert shared.gateway.http.get("/livez").status_code == 200
    assert "bug" not in shared.gateway.log
