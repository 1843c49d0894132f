"""A store is asked how it is once at a time and once in a while, whoever wants to know."""

import asyncio
import time

import pytest

from gateway.api import health
from gateway.api.health import Probe
from gateway.errors import LedgerUnavailable


class Store:
    """A store that answers, fails or hangs."""

    def __init__(self) -> None:
        self.asked = 0
        self.fails = False
        self.answers = asyncio.Event()
        self.answers.set()

    async def ask(self) -> None:
        self.asked += 1
        await self.answers.wait()
        if self.fails:
            raise LedgerUnavailable


@pytest.mark.alone
def test_a_flood_of_probes_is_one_question() -> None:
    """However many ask at once, or within the second, the store is asked once."""

    async def story() -> None:
        store = Store()
        probe = Probe(store.ask, LedgerUnavailable)
        for _ in range(3):
            assert set(await asyncio.gather(*(probe.state() for _ in range(1000)))) == {"up"}
        assert store.asked == 1

    asyncio.run(story())


@pytest.mark.alone
def test_what_hangs_is_down_and_is_not_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hanging store holds up the first probe for the patience, later ones for less, and is up once it answers."""
    monkeypatch.setattr(health, "PATIENCE_SECONDS", 0.2)
    monkeypatch.setattr(health, "DOWN_SECONDS", 0.02)

    async def story() -> None:
        store = Store()
        store.answers.clear()
        probe = Probe(store.ask, LedgerUnavailable, fresh=0.0)
        begun = time.monotonic()
        assert await probe.state() == "down"
        first = time.monotonic() - begun
        for _ in range(10):
            assert await probe.state() == "down"
        assert first >= 0.19
        assert time.monotonic() - begun < first + 0.2, "the others waited for nothing"
        assert store.asked == 1
        store.answers.set()
        assert await probe.state() == "up"

    asyncio.run(story())


def test_what_fails_is_down_until_it_answers() -> None:
    """A store that answers with a failure is down, and up again with the next good answer."""

    async def story() -> None:
        store = Store()
        probe = Probe(store.ask, LedgerUnavailable, fresh=0.0)
        states = []
        for store.fails in (False, True, True, False):
            states.append(await probe.state())
        assert states == ["up", "down", "down", "up"]

    asyncio.run(story())
