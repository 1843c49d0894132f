"""The in-process cache: bounded in bytes, and forgetting in time."""

import asyncio
from collections.abc import Awaitable, Callable

from gateway.redis_link import Patience
from gateway.replies import Entry, LocalReplies
from gateway.replies.cache import DROPPED_SECONDS

KIB = 1024


def entry(size: int) -> Entry:
    """Make a reply of so many bytes."""
    return Entry("x" * size, "gen", 0, 0)


def tell(story: Callable[[LocalReplies, list[float]], Awaitable[None]], bytes_max: int = 10 * KIB) -> None:
    """Play a story on a cache whose clock is set by hand."""
    clock = [0.0]
    asyncio.run(_play(story, LocalReplies(bytes_max=bytes_max, clock=lambda: clock[0]), clock))


async def _play(
    story: Callable[[LocalReplies, list[float]], Awaitable[None]], replies: LocalReplies, clock: list[float]
) -> None:
    await story(replies, clock)


async def keep(replies: LocalReplies, name: str, size: int = KIB, seconds: int = 60) -> bool:
    """Keep a reply under a name."""
    return await replies.keep("t", name, entry(size), seconds, Patience())


async def known(replies: LocalReplies, *names: str) -> list[str]:
    """List which of these are found."""
    return [name for name in names if await replies.look("t", name, Patience()) is not None]


def test_the_least_recently_used_go_first() -> None:
    """When the bytes are used up, what was not looked at for longest makes room."""

    async def story(replies: LocalReplies, clock: list[float]) -> None:
        del clock
        for name in "abcde":  # a KiB each, and as much again for the place
            assert await keep(replies, name)
        assert await known(replies, "a") == ["a"]
        assert await keep(replies, "f")
        assert await keep(replies, "g")
        assert await known(replies, *"abcdefg") == ["a", "d", "e", "f", "g"]

    tell(story)


def test_replacing_frees_the_bytes() -> None:
    """A reply kept a thousand times takes the place of one."""

    async def story(replies: LocalReplies, clock: list[float]) -> None:
        del clock
        assert await keep(replies, "other")
        for _ in range(1000):
            assert await keep(replies, "same")
        assert await known(replies, "other", "same") == ["other", "same"]

    tell(story)


def test_too_large_is_not_kept() -> None:
    """A reply larger than the whole cache is not kept, and pushes nothing out."""

    async def story(replies: LocalReplies, clock: list[float]) -> None:
        del clock
        assert await keep(replies, "small")
        assert not await keep(replies, "large", 10 * KIB)
        assert await known(replies, "small", "large") == ["small"]

    tell(story)


def test_life_and_drop_end_in_time() -> None:
    """A reply is gone at the end of its life; a dropped generation's is taken again after a minute."""

    async def story(replies: LocalReplies, clock: list[float]) -> None:
        await keep(replies, "short", seconds=10)
        await keep(replies, "long", seconds=1000)
        clock[0] = 9.9
        assert await known(replies, "short", "long") == ["short", "long"]
        clock[0] = 10.0
        assert await known(replies, "short", "long") == ["long"]
        assert await replies.drop("t", [("long", entry(KIB).generation_id)], Patience())
        clock[0] = 10.0 + DROPPED_SECONDS - 0.1
        assert not await keep(replies, "long")
        clock[0] += 0.1
        assert await keep(replies, "long")
        assert await known(replies, "long") == ["long"]

    tell(story)
