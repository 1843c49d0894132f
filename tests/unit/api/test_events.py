"""A stream says something now and then, and ends when its process leaves."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from gateway.api import events
from gateway.api.events import Streams, Subject, stream
from gateway.flow.stages import Stages


class NothingEnds:
    """A ledger in which everything stays reserved."""

    async def states(self, generations: Sequence[str]) -> dict[str, str]:
        """Return the states."""
        return dict.fromkeys(generations, "reserved")


async def never_ends() -> dict[str, Any]:
    """Show no end."""
    raise AssertionError


def told(streams: Streams, stages: Stages) -> list[bytes]:
    """Read a stream to its end; the process begins to leave after the third comment."""
    answer = stream(Subject("gen_1", "ten_1", "user ann", never_ends), 0, stages, streams)
    said: list[bytes] = []

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body" and message["body"]:
            said.append(message["body"])
            streams.closing = sum(piece.startswith(b":") for piece in said) == 3

    async def receive() -> Any:
        await asyncio.Event().wait()

    asyncio.run(answer({"type": "http", "method": "GET"}, receive, send))
    return said


def test_a_silent_stage_is_bridged_by_comments(monkeypatch: pytest.MonkeyPatch) -> None:
    """Proxies close what is silent for long. A process that leaves ends the streams of what runs elsewhere."""
    monkeypatch.setattr(events, "HEARTBEAT_SECONDS", 0.02)
    monkeypatch.setattr(events, "LOOK_SECONDS", 0.01)
    streams = Streams()
    said = told(streams, Stages(NothingEnds()))  # type: ignore[arg-type]  # it has what is asked of it
    assert said[0] == b"retry: 2000\n\n"
    assert said[1].startswith(b"id: 1\nevent: reserved\n")
    assert said[2:] == [b": still running\n\n"] * 3
    assert (streams._open, streams._of) == (0, {}), "it is counted no longer"
