"""The client against a scripted upstream over real connections: what is sent, what is sent again, and what never is."""

import asyncio
import gzip
import logging
from decimal import Decimal

import orjson
import pytest
import structlog
from prometheus_client import CollectorRegistry

from gateway.metrics import Metrics
from gateway.upstream.answer import (
    Busy,
    Garbage,
    Generated,
    Lost,
    NotConnected,
    Refused,
    ServerFault,
)
from gateway.upstream.client import Answered, Upstream, UpstreamConfig
from tests.unit.upstream.scripted import (
    KEY,
    OTHER,
    SUCCESS,
    Scripted,
    Step,
    ask,
    call,
    client,
    drips,
    hangs_up,
    is_silent,
    replies,
    scripted,
    until,
)

BUSY = replies({"code": 429, "msg": "slow down"})
REFUSED_KEY = replies({"code": -1, "msg": "API key is invalid or expired"})


def test_a_generation_is_one_plain_post() -> None:
    """The body is what was asked, digit for digit, with the key as a bearer and nothing that invites compression."""
    answered, received = call(replies(), seconds=5)
    assert isinstance(answered.answer, Generated)
    assert answered.answer.cost == Decimal("0.04")
    assert (answered.account, answered.attempts) == ("0", 1)
    assert answered.seconds > 0
    (request,) = received
    assert request.line == "POST /images/generate HTTP/1.1"
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["accept-encoding"] == "identity"
    assert orjson.loads(request.body) == {"model": "flux-2-pro", "prompt": "一只小猫"}


def test_large_seeds_keep_every_digit() -> None:
    """A seed of 2^64 - 1 or beyond 2^53 arrives as the integer it is."""

    async def story() -> list[bytes]:
        async with scripted(replies()) as server, client(server.url) as upstream:
            await ask(upstream, members={"seed": 2**64 - 1})
            await ask(upstream, members={"seed": 9007199254740993})
            return [request.body for request in server.received]

    bodies = asyncio.run(story())
    assert b'"seed":18446744073709551615' in bodies[0]
    assert b'"seed":9007199254740993' in bodies[1]


def test_large_references_arrive_whole() -> None:
    """Megabytes of reference images are sent with their length, piece by piece, unchanged."""
    images = {f"input_image_{n}": "QUJD" * 500_000 for n in (2, 3)}

    async def story() -> Scripted:
        async with scripted(replies()) as server, client(server.url) as upstream:
            assert isinstance((await ask(upstream, members=images)).answer, Generated)
            return server

    (request,) = asyncio.run(story()).received
    assert orjson.loads(request.body) == {"model": "flux-2-pro", "prompt": "一只小猫", **images}
    assert "transfer-encoding" not in request.headers


def test_an_answer_before_the_body_is_sent_is_heard() -> None:
    """A refusal that comes before the upload ends is that refusal, and nothing is left running."""

    async def story() -> object:
        too_large = replies({"code": -1, "msg": "too large"}, 413)
        async with scripted(too_large, early=True) as server, client(server.url) as upstream:
            return (await ask(upstream, members={"input_image": "QUJD" * 2_000_000})).answer

    assert asyncio.run(story()) == Refused("too large", moderated=False, cost=None)


def test_a_large_reply_is_read_whole() -> None:
    """An image of megabytes in Base64 comes through, read away from the event loop."""

    async def story() -> object:
        reply = replies({**SUCCESS, "data": [{"type": "base64", "image": "QUJD" * 700_000, "mimeType": "image/png"}]})
        async with scripted(reply) as server, client(server.url, reply_cap=4 << 20) as upstream:
            return (await ask(upstream)).answer

    answer = asyncio.run(story())
    assert isinstance(answer, Generated)
    assert answer.images[0].image == "QUJD" * 700_000


def test_a_reply_compressed_unasked_is_understood() -> None:
    """A gzip reply is unfolded, but never beyond the cap."""
    packed = {"Content-Encoding": "gzip"}
    answered, _ = call(replies(gzip.compress(orjson.dumps(SUCCESS)), headers=packed))
    assert isinstance(answered.answer, Generated)
    answered, _ = call(replies(gzip.compress(b" " * (2 << 20)), headers=packed))
    assert answered.answer == Lost(timeout=False, detail="a reply of more than 1048576 bytes")


@pytest.mark.parametrize("step", [BUSY, replies(b"<html>", 503), replies({"code": "503", "message": "busy"})])
def test_busy_is_tried_three_times(step: Step) -> None:
    """429 and 503, by HTTP or by code, are tried again twice, then stand."""
    answered, received = call(step)
    assert isinstance(answered.answer, Busy)
    assert answered.attempts == len(received) == 3


def test_busy_then_free_is_a_generation() -> None:
    """A repeat that succeeds is the answer."""
    answered, received = call(BUSY, replies())
    assert isinstance(answered.answer, Generated)
    assert answered.attempts == len(received) == 2


def test_a_long_retry_after_ends_the_call() -> None:
    """A Retry-After beyond the waiting that is left is reported at once, not waited for."""
    answered, received = call(replies({"code": -1, "msg": "later"}, 429, {"Retry-After": "30"}))
    assert answered.answer == Busy(30.0, None)
    assert len(received) == 1


def test_busy_moves_to_another_account_at_once() -> None:
    """With a free account left, no pause comes before the next attempt, whatever Retry-After says."""
    answered, received = call(replies({}, 429, {"Retry-After": "30"}), replies(), keys=(KEY, OTHER))
    assert isinstance(answered.answer, Generated)
    assert [request.headers["authorization"] for request in received] == [f"Bearer {KEY}", f"Bearer {OTHER}"]
    assert answered.account == "1"


@pytest.mark.parametrize(
    ("step", "answer"),
    [
        (replies({"code": -1, "msg": "Request Moderated"}), Refused("Request Moderated", moderated=True, cost=None)),
        (replies(b"<html>", 500), ServerFault("HTTP 500 without a JSON object, 6 bytes", None)),
        (replies(b"<html>"), Garbage("HTTP 200 without a JSON object, 6 bytes")),
        (replies({"code": 429, "usage": {"cost": 0.01}}), Busy(None, Decimal("0.01"))),
        (hangs_up, Lost(timeout=False, detail="ServerDisconnectedError")),
        (replies(length=5000, stay=False), Lost(timeout=False, detail="ClientPayloadError")),
        (replies(b" " * (2 << 20)), Lost(timeout=False, detail="a reply of more than 1048576 bytes")),
    ],
)
def test_everything_else_is_sent_once(step: Step, answer: object) -> None:
    """Refusals, faults, nonsense, cuts, oversize and anything billed are never sent again."""
    answered, received = call(step)
    assert answered.answer == answer
    assert answered.attempts == len(received) == 1


@pytest.mark.parametrize("step", [is_silent, drips])
def test_silence_ends_at_the_deadline(step: Step) -> None:
    """Silence, and a reply that never ends, are lost at the deadline and sent once."""
    answered, received = call(step, seconds=0.1)
    assert isinstance(answered.answer, Lost)
    assert answered.answer.timeout
    assert len(received) == 1
    assert answered.seconds < 2


def test_a_past_deadline_sends_nothing() -> None:
    """Without time left no attempt is made."""
    answered, received = call(replies(), seconds=-1)
    assert answered.answer == NotConnected(timeout=True)
    assert (answered.attempts, received) == (0, [])


def test_a_redirect_is_not_followed() -> None:
    """The key goes to no other host, whatever upstream says."""

    async def story() -> tuple[object, int]:
        async with scripted(replies()) as elsewhere:
            away = replies({}, 307, {"Location": f"{elsewhere.url}/images/generate"})
            async with scripted(away) as server, client(server.url) as upstream:
                return (await ask(upstream)).answer, len(elsewhere.received)

    answer, reached = asyncio.run(story())
    assert isinstance(answer, Garbage)
    assert reached == 0


def test_no_cookie_is_kept() -> None:
    """A cookie that upstream sets is not sent back."""

    async def story() -> Scripted:
        async with scripted(replies(headers={"Set-Cookie": "a=b; Path=/"})) as server, client(server.url) as upstream:
            await ask(upstream)
            await ask(upstream)
            return server

    server = asyncio.run(story())
    assert [request.headers.get("cookie") for request in server.received] == [None, None]
    assert server.connections == 1


def test_the_configured_time_out_holds() -> None:
    """A deadline far away does not outlast the configured seconds for one generation."""

    async def story() -> Answered:
        async with scripted(is_silent) as server:
            config = UpstreamConfig(server.url, (KEY,), timeout=0.05)
            upstream = Upstream(config, Metrics(CollectorRegistry()))
            try:
                return await ask(upstream, 1000)
            finally:
                await upstream.close()

    answered = asyncio.run(story())
    assert isinstance(answered.answer, Lost)
    assert answered.seconds < 2


def test_attempts_are_counted_by_result() -> None:
    """Every attempt is one count of its account and result."""
    metrics = Metrics(CollectorRegistry())

    async def story() -> None:
        steps = (BUSY, replies(), REFUSED_KEY, hangs_up, replies({}, 400), replies({}, 500), replies([]))
        async with scripted(*steps) as server, client(server.url, metrics=metrics) as upstream:
            for _ in range(6):
                await ask(upstream)

    asyncio.run(story())
    read = metrics.registry.get_sample_value
    for result in ("busy", "generated", "account", "lost", "refused", "fault", "garbage"):
        assert read("gateway_upstream_attempts_total", {"account": "0", "result": result}) == 1, result


def test_a_cancelled_call_hangs_up() -> None:
    """Cancelling passes through, and the connection is closed rather than left to a stranger's reply."""

    async def story() -> None:
        async with scripted(is_silent, replies()) as server, client(server.url) as upstream:
            task = asyncio.create_task(ask(upstream))
            await until(lambda: server.received)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert isinstance((await ask(upstream)).answer, Generated)
            assert server.connections == 2

    asyncio.run(story())


def test_check_reaches_without_key_or_cost() -> None:
    """The check asks for `/` without a key, and any answer will do."""

    async def story() -> tuple[Scripted, str | None]:
        async with scripted(replies(b"", 404)) as server, client(server.url) as upstream:
            return server, await upstream.check()

    server, fault = asyncio.run(story())
    assert fault is None
    assert server.received[0].line == "GET / HTTP/1.1"
    assert "authorization" not in server.received[0].headers


def test_check_says_what_is_wrong() -> None:
    """Nobody there, or somebody who hangs up, is told in words."""

    async def story() -> list[str | None]:
        async with scripted(hangs_up) as server, client(server.url) as upstream:
            broken = await upstream.check()
        async with client(server.url) as upstream:
            return [broken, await upstream.check()]

    assert asyncio.run(story()) == [
        "a connection was made, but broke: ServerDisconnectedError",
        "no connection could be made (name, address, port or TLS)",
    ]


def test_the_url_may_be_given_with_its_path() -> None:
    """A base URL with a slash at its end, or the whole endpoint, is the same upstream."""

    async def story() -> list[str]:
        async with scripted(replies()) as server:
            for suffix in ("/", "/images/generate"):
                async with client(server.url + suffix) as upstream:
                    await ask(upstream)
            return [request.line for request in server.received]

    assert asyncio.run(story()) == ["POST /images/generate HTTP/1.1"] * 2


def test_the_key_is_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    """Upstream echoes the key in everything it says: it is in no answer, log, metric or representation."""
    caplog.set_level(logging.DEBUG)
    metrics = Metrics(CollectorRegistry())
    echoes = [
        replies({"code": -1, "msg": f"API key {KEY} is invalid or expired"}),
        replies({"code": -1, "msg": f"Bearer {KEY}"}),
        replies({"code": 500, "error": {"message": f"k\u200b={KEY[:9]}\u200b{KEY[9:]}"}}),
        replies({**SUCCESS, "model": KEY, "provider": KEY, "data": [{"image": "https://a/b", "revised_prompt": KEY}]}),
        replies({**SUCCESS, "data": [{"image": f"https://a/{KEY}"}]}),
        replies(KEY.encode()),
        replies({}, 200, {"X Bad": KEY}),
    ]

    async def story() -> list[str]:
        async with scripted(*echoes, hangs_up) as server, client(server.url, metrics=metrics) as upstream:
            return [repr(upstream), repr(vars(upstream)), *[repr(await ask(upstream)) for _ in range(len(echoes) + 1)]]

    with structlog.testing.capture_logs() as logs:
        seen = asyncio.run(story())
    samples = [repr(metric) for metric in metrics.registry.collect()]
    config = UpstreamConfig("http://127.0.0.1:9", (KEY,))
    assert logs, "the refused key is reported"
    assert KEY not in repr((seen, logs, samples, caplog.text, config, Upstream(config, Metrics(CollectorRegistry()))))
