"""What the client makes of connections: kept, refused, failed, late; and of accounts that fail."""

import asyncio
import socket
import ssl
import subprocess
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from gateway.metrics import Metrics
from gateway.upstream.answer import (
    AccountFault,
    Answer,
    Generated,
    Lost,
    NotConnected,
)
from tests.unit.upstream.scripted import (
    KEY,
    OTHER,
    Scripted,
    Step,
    ask,
    client,
    hangs_up,
    is_silent,
    replies,
    scripted,
)

REFUSED_KEY = replies({"code": -1, "msg": "API key is invalid or expired"})


def test_a_closed_kept_connection_is_not_used() -> None:
    """Upstream closes each connection after one reply, without a word: every call goes out on a live one, once."""

    async def story() -> tuple[int, list[Answer]]:
        async with scripted(replies(stay=False)) as server, client(server.url) as upstream:
            answers = [(await ask(upstream)).answer for _ in range(40)]
            answers += [answered.answer for answered in await asyncio.gather(*[ask(upstream) for _ in range(40)])]
            return len(server.received), answers

    received, answers = asyncio.run(story())
    assert all(isinstance(answer, Generated) for answer in answers)
    assert received == len(answers)


def test_a_post_on_a_kept_connection_is_never_repeated() -> None:
    """Upstream reads the second request of a connection and hangs up: it was received once and is lost."""

    async def story() -> tuple[list[object], Scripted]:
        async with scripted(replies(), hangs_up) as server, client(server.url) as upstream:
            return [(await ask(upstream)).answer for _ in range(2)], server

    answers, server = asyncio.run(story())
    assert isinstance(answers[0], Generated)
    assert answers[1] == Lost(timeout=False, detail="ServerDisconnectedError")
    assert (len(server.received), server.connections) == (2, 1)


def test_a_refused_connection_is_tried_three_times() -> None:
    """Nobody listens: nothing was sent, which is said so after three attempts."""

    async def story() -> tuple[object, int]:
        with socket.socket() as unheard:
            unheard.bind(("127.0.0.1", 0))
            async with client(f"http://127.0.0.1:{unheard.getsockname()[1]}") as upstream:
                answered = await ask(upstream)
                return answered.answer, answered.attempts

    assert asyncio.run(story()) == (NotConnected(timeout=False), 3)


def test_a_failed_handshake_is_no_connection() -> None:
    """A host that does not speak TLS was sent no request."""

    def speak_plainly(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async def story() -> object:
        async with await asyncio.start_server(speak_plainly, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            async with client(f"https://127.0.0.1:{port}") as upstream:
                return (await ask(upstream)).answer

    assert asyncio.run(story()) == NotConnected(timeout=False)


def test_tls_is_spoken_and_verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A certificate that the machine trusts will do, any other is no connection; closed connections are noticed."""
    certificate, key = tmp_path / "localhost.pem", tmp_path / "localhost.key"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", str(key), "-out", str(certificate)]
    made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    subprocess.run([*made, *subject, *files], check=True, capture_output=True)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)

    async def story() -> list[Answer]:
        async with scripted(replies(stay=False), tls=context) as server, client(server.url) as upstream:
            return [(await ask(upstream)).answer for _ in range(5)]

    assert asyncio.run(story()) == [NotConnected(timeout=False)] * 5
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    assert all(isinstance(answer, Generated) for answer in asyncio.run(story()))


@pytest.mark.parametrize(("connect_timeout", "seconds"), [(0.05, 5.0), (5.0, 0.1)])
def test_a_connection_not_made_in_time_was_not_sent(connect_timeout: float, seconds: float) -> None:
    """A full backlog ends at the connect time-out, or at an earlier deadline, as never connected."""

    async def story() -> object:
        with socket.socket() as full, socket.socket() as first, socket.socket() as second:
            full.bind(("127.0.0.1", 0))
            full.listen(0)
            for filler in (first, second):
                filler.setblocking(False)
                filler.connect_ex(full.getsockname())
            port = full.getsockname()[1]
            async with client(f"http://127.0.0.1:{port}", connect_timeout=connect_timeout) as upstream:
                return (await ask(upstream, seconds)).answer

    assert asyncio.run(story()) == NotConnected(timeout=True)


def test_a_refused_key_is_set_aside() -> None:
    """The other account is tried at once, and alone from then on."""

    async def story() -> Scripted:
        async with scripted(REFUSED_KEY, replies()) as server, client(server.url, KEY, OTHER) as upstream:
            for _ in range(3):
                assert isinstance((await ask(upstream)).answer, Generated)
            return server

    keys = [request.headers["authorization"].removeprefix("Bearer ") for request in asyncio.run(story()).received]
    assert keys == [KEY, OTHER, OTHER, OTHER]


def test_the_last_account_stays_in_use() -> None:
    """A single refused account is asked again by every call, once each."""

    async def story() -> Scripted:
        async with scripted(REFUSED_KEY) as server, client(server.url) as upstream:
            for _ in range(3):
                assert isinstance((await ask(upstream)).answer, AccountFault)
            return server

    assert len(asyncio.run(story()).received) == 3


def test_the_breaker_answers_without_trying() -> None:
    """After ten connections refused in a row, calls end at once without an attempt, and the gauge says so."""
    metrics = Metrics(CollectorRegistry())

    async def story() -> list[int]:
        with socket.socket() as unheard:
            unheard.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{unheard.getsockname()[1]}"
            async with client(url, metrics=metrics) as upstream:
                return [(await ask(upstream)).attempts for _ in range(5)]

    assert asyncio.run(story()) == [3, 3, 3, 1, 0]
    read = metrics.registry.get_sample_value
    assert read("gateway_upstream_breaker_open", {"account": "0"}) == 1
    assert read("gateway_upstream_attempts_total", {"account": "0", "result": "unreached"}) == 10


@pytest.mark.parametrize("answer", [replies(), REFUSED_KEY, replies({}, 500)])
def test_silence_opens_the_breaker_and_any_answer_closes_it(answer: Step) -> None:
    """Ten time-outs in a row open it; nine, an answer and nine more do not."""

    async def story() -> list[int]:
        steps = [*[is_silent] * 9, answer, *[is_silent] * 10]
        async with scripted(*steps) as server, client(server.url) as upstream:
            return [(await ask(upstream, 5.0 if n == 9 else 0.02)).attempts for n in range(21)]

    assert asyncio.run(story()) == [1] * 20 + [0]
