"""Large bodies take turns when there is no room for all of them at once."""

import asyncio

import pytest

import gateway.api.room
from gateway.api.room import UNCOUNTED_BYTES, BodyRoom
from gateway.errors import Unavailable

MIB = 1 << 20


def test_a_body_waits_until_there_is_room() -> None:
    """The second of two bodies that do not fit together goes on when the first is answered."""

    async def story() -> list[str]:
        room, order, first_in = BodyRoom(10 * MIB), [], asyncio.Event()

        async def first() -> None:
            with room.hold() as hold:
                await hold.grow(8 * MIB)
                first_in.set()
                await asyncio.sleep(0)
                order.append("first")

        async def second() -> None:
            await first_in.wait()
            with room.hold() as hold:
                await hold.grow(8 * MIB)
                order.append("second")

        await asyncio.gather(second(), first())
        return order

    assert asyncio.run(story()) == ["first", "second"]


def test_a_body_without_room_is_told_when_to_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for ever: 503 with Retry-After, and what was held is free again."""
    monkeypatch.setattr(gateway.api.room, "PATIENCE_SECONDS", 0.01)

    async def story() -> None:
        room = BodyRoom(10 * MIB)
        with room.hold() as hold:
            await hold.grow(10 * MIB)
            with pytest.raises(Unavailable) as refused, room.hold() as other:
                await other.grow(MIB)
            assert refused.value.retry_after is not None
        with room.hold() as hold:
            await hold.grow(10 * MIB)

    asyncio.run(story())


def test_small_bodies_are_not_counted() -> None:
    """A full room does not hold up what is small."""

    async def story() -> None:
        room = BodyRoom(MIB)
        with room.hold() as hold, room.hold() as small:
            await hold.grow(MIB)
            await small.grow(UNCOUNTED_BYTES)

    asyncio.run(story())


def test_a_growing_body_counts_once() -> None:
    """A body of unknown size holds what has come of it, not the sum of all its sizes."""

    async def story() -> None:
        room = BodyRoom(10 * MIB)
        with room.hold() as hold:
            for size in range(1, 11):
                await hold.grow(size * MIB)
            assert hold.size == 10 * MIB

    asyncio.run(story())


def test_what_is_answered_before_its_end_holds_on() -> None:
    """A request that is answered while its work goes on gives its bytes back when the work has ended."""

    async def story() -> None:
        room, end = BodyRoom(10 * MIB), asyncio.Event()
        work = asyncio.create_task(end.wait())
        with room.hold() as hold:
            await hold.grow(8 * MIB)
            hold.until(work)
        with room.hold() as another:
            waiting = asyncio.create_task(another.grow(8 * MIB))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert not waiting.done()
            end.set()
            await waiting

    asyncio.run(story())
