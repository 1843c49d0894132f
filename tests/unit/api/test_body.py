"""A body is read within its cap and its time, or not at all."""

import asyncio
from collections.abc import Sequence

import pytest
from starlette.requests import ClientDisconnect, Request
from starlette.types import Message

import gateway.api.body
from gateway.api.body import MIB, read_body
from gateway.errors import BodyTimeout, BodyTooLarge


def read(messages: Sequence[Message], *, length: str | None = None, cap_mib: int = 1) -> tuple[bytes | Exception, int]:
    """Read a body from these messages, then silence; return it or what was raised, and how many were taken."""
    taken = 0

    async def receive() -> Message:
        nonlocal taken
        taken += 1
        if taken > len(messages):
            await asyncio.Event().wait()
        return messages[taken - 1]

    headers = [] if length is None else [(b"content-length", length.encode())]
    request = Request({"type": "http", "method": "POST", "headers": headers}, receive)
    try:
        return asyncio.run(read_body(request, cap_mib)), taken
    except (BodyTimeout, BodyTooLarge, ClientDisconnect) as error:
        return error, taken


def piece(content: bytes, *, more: bool = True) -> Message:
    """Write a piece of a body."""
    return {"type": "http.request", "body": content, "more_body": more}


def test_pieces_are_put_together() -> None:
    """A body is all of its pieces in order, up to the very cap."""
    assert read([piece(b"a"), piece(b"b", more=False)]) == (b"ab", 2)
    whole = bytes(MIB)
    assert read([piece(whole, more=False)], length=str(MIB)) == (whole, 1)


def test_a_declared_size_is_refused_before_anything_is_taken() -> None:
    """A Content-Length over the cap is enough: not one piece is received."""
    error, taken = read([piece(b"a", more=False)], length=str(MIB + 1))
    assert isinstance(error, BodyTooLarge)
    assert taken == 0


def test_an_undeclared_size_is_refused_with_the_piece_that_passes_the_cap() -> None:
    """What comes after the piece that is too much is not received."""
    error, taken = read([piece(bytes(MIB)), piece(b"x"), piece(b"never")])
    assert isinstance(error, BodyTooLarge)
    assert taken == 2


def test_a_body_that_does_not_come_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Silence in the middle of a body ends with BodyTimeout."""
    monkeypatch.setattr(gateway.api.body, "SECONDS", 0.05)
    monkeypatch.setattr(gateway.api.body, "SECONDS_A_MIB", 0.0)
    error, _ = read([piece(b"a")])
    assert isinstance(error, BodyTimeout)


def test_what_was_announced_earns_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A body that only says it is large is waited for no longer than a small one: what has come in counts."""
    monkeypatch.setattr(gateway.api.body, "SECONDS", 0.05)
    error, _ = read([piece(b"a")], length=str(MIB))
    assert isinstance(error, BodyTimeout)


def test_a_body_that_comes_in_earns_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each MiB moves the deadline: what comes in as fast as that is read, however long it takes in all."""
    monkeypatch.setattr(gateway.api.body, "SECONDS", 0.5)
    monkeypatch.setattr(gateway.api.body, "SECONDS_A_MIB", 0.5)

    async def story() -> int:
        left = 5

        async def receive() -> Message:
            nonlocal left
            left -= 1
            arrived = asyncio.Event()
            asyncio.get_running_loop().call_later(0.2, arrived.set)
            await arrived.wait()
            return piece(bytes(MIB), more=left > 0)

        return len(await read_body(Request({"type": "http", "method": "POST", "headers": []}, receive), 10))

    assert asyncio.run(story()) == 5 * MIB


def test_a_caller_who_hangs_up_is_noticed() -> None:
    """A disconnect in the middle is no body."""
    error, _ = read([piece(b"a"), {"type": "http.disconnect"}])
    assert isinstance(error, ClientDisconnect)
