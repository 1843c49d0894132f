"""What the one middleware does around every answer."""

import asyncio
from collections.abc import Sequence

import pytest
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.api.edge import Edge
from gateway.api.pages import Pages
from gateway.database.engine import open_database
from gateway.tenants.origins import Origins

PAGES = Pages("http://gateway", Origins(open_database("sqlite://")))
"""Nobody is asked about a request without an origin."""


def answer(app: ASGIApp, headers: Sequence[tuple[bytes, bytes]] = (), *bodies: Message) -> list[Message]:
    """Return what is sent when a request comes with these messages."""
    waiting, sent = list(bodies), []
    scope: Scope = {"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": list(headers)}

    async def receive() -> Message:
        return waiting.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(Edge(app, PAGES)(scope, receive, send))
    return sent


async def early(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer without a look at the body."""
    await PlainTextResponse("no", 401)(scope, receive, send)


async def patient(scope: Scope, receive: Receive, send: Send) -> None:
    """Read the whole body, then answer."""
    while (await receive()).get("more_body", False):
        pass
    await PlainTextResponse("yes")(scope, receive, send)


@pytest.mark.parametrize("header", [(b"content-length", b"10"), (b"transfer-encoding", b"chunked")])
def test_an_answer_before_the_end_of_the_body_ends_the_connection(header: tuple[bytes, bytes]) -> None:
    """What is left of the body would be taken for the next request."""
    assert (b"connection", b"close") in answer(early, [header])[0]["headers"]


def test_other_answers_leave_the_connection_open() -> None:
    """A body that was read, or none, is no reason to close."""
    piece = {"type": "http.request", "body": b"x", "more_body": True}
    last = {"type": "http.request", "body": b"x", "more_body": False}
    for sent in (
        answer(patient, [(b"content-length", b"2")], piece, last),
        answer(early),
        answer(early, [(b"content-length", b"0")]),
    ):
        assert not [value for name, value in sent[0]["headers"] if name == b"connection"]


def test_a_request_that_is_not_waited_for_is_told_so() -> None:
    """When the server cancels what it does not wait for, the answer is the envelope, with Retry-After."""

    async def waits(_scope: Scope, _receive: Receive, _send: Send) -> None:
        raise asyncio.CancelledError

    sent = answer(waits)
    assert sent[0]["status"] == 503
    assert dict(sent[0]["headers"])[b"retry-after"] == b"5"
    assert sent[1]["body"] == b'{"code":-1,"msg":"The gateway is shutting down"}'
