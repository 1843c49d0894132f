"""How long one request waits."""

import asyncio

import pytest

from gateway.redis_link import Patience


def test_waits_side_by_side_count_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time is counted while at least one trip waits, and not between trips."""
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    patience = Patience(0.6)
    with patience.waiting():
        now[0] += 0.1
        with patience.waiting():
            now[0] += 0.1
        now[0] += 0.1
        assert patience.left == pytest.approx(0.3)
    now[0] += 50
    assert patience.left == pytest.approx(0.3)
    with patience.waiting():
        now[0] += 1
    assert patience.left == 0


def test_lost_patience_is_lost() -> None:
    """After a failed trip nothing is left."""
    patience = Patience()
    patience.lose()
    assert patience.left == 0


def test_cancelled_wait_counts() -> None:
    """A wait that is cancelled ends its count."""

    async def play() -> None:
        patience = Patience()

        async def wait() -> None:
            with patience.waiting():
                await asyncio.Event().wait()

        task = asyncio.create_task(wait())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        left = patience.left
        assert 0 < left <= 0.6
        assert patience.left == left

    asyncio.run(play())
