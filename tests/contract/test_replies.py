"""What both caches promise, on every backend, and what the shared one does without Redis."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeAlias

import pytest

from gateway.limits import Rate, Scope, SharedLimiter
from gateway.redis_link import Patience, RedisLink, parse_address
from gateway.replies import Entry, Replies, SharedReplies
from tests.contract.limits_backends import fresh_id, new_metrics, patience, sample
from tests.contract.replies_backends import BACKENDS, backend_url, open_replies
from tests.servers.redis import redis_server

Story: TypeAlias = Callable[[Replies], Awaitable[None]]

ENTRY = Entry('{"images":["图 1\\n"]}', "gen_1", 1_790_000_000_000, 40_000)
PRINT = "f" * 64


@pytest.fixture(scope="module", params=BACKENDS)
def url(request: pytest.FixtureRequest) -> Iterator[str | None]:
    """Run each backend once for the module; None is in-process."""
    yield from backend_url(request.param)


def tell(url: str | None, story: Story) -> None:
    """Play one story on a cache of the backend."""

    async def play() -> None:
        async with open_replies(url) as replies:
            await story(replies)

    asyncio.run(play())


def test_kept_then_found_by_its_tenant_alone(url: str | None) -> None:
    """What a tenant keeps it finds as it was, by its fingerprint; no other tenant and no other fingerprint finds it."""

    async def story(replies: Replies) -> None:
        team = fresh_id()
        assert await replies.look(team, PRINT, patience()) is None
        assert await replies.keep(team, PRINT, ENTRY, 60, patience())
        assert await replies.look(team, PRINT, patience()) == ENTRY
        assert await replies.look(fresh_id(), PRINT, patience()) is None
        assert await replies.look(team, "e" * 64, patience()) is None

    tell(url, story)


def test_a_later_reply_takes_the_place(url: str | None) -> None:
    """A reply that is kept for the same fingerprint replaces the earlier one."""

    async def story(replies: Replies) -> None:
        team, later = fresh_id(), Entry("later", "gen_2", ENTRY.stored_at + 1, 0)
        await replies.keep(team, PRINT, ENTRY, 60, patience())
        assert await replies.keep(team, PRINT, later, 60, patience())
        assert await replies.look(team, PRINT, patience()) == later

    tell(url, story)


def test_life_ends(url: str | None) -> None:
    """A reply is gone when its life has ended."""

    async def story(replies: Replies) -> None:
        team = fresh_id()
        assert await replies.keep(team, PRINT, ENTRY, 1, patience())
        assert await replies.look(team, PRINT, patience()) is not None
        started = time.monotonic()
        while await replies.look(team, PRINT, patience()) is not None:
            assert time.monotonic() < started + 5, "the life has no end"
            await asyncio.sleep(0.02)

    tell(url, story)


def test_dropped_and_not_kept_by_who_was_on_the_way(url: str | None, caplog: pytest.LogCaptureFixture) -> None:
    """What is dropped is gone, others stay, and a reply of the same generation that was on its way is not stored."""

    async def story(replies: Replies) -> None:
        team, many = fresh_id(), [f"{number:064x}" for number in range(300)]
        await asyncio.gather(*(replies.keep(team, one, ENTRY, 60, patience()) for one in many))
        assert await replies.drop(team, [(one, ENTRY.generation_id) for one in many[1:]], patience())
        found = [await replies.look(team, one, patience()) for one in many]
        assert found == [ENTRY] + [None] * 299
        assert not await replies.keep(team, many[7], ENTRY, 60, patience())
        assert await replies.look(team, many[7], patience()) is None
        assert await replies.keep(team, many[0], ENTRY, 60, patience())
        assert await replies.drop(team, [], patience())
        assert not caplog.records

    tell(url, story)


def test_a_later_reply_outlives_the_drop_of_an_earlier(url: str | None) -> None:
    """Dropping a generation leaves the reply of a later one where it is, and lets one be kept that comes after it."""

    async def story(replies: Replies) -> None:
        team = fresh_id()
        for later in (Entry("later", "gen_2", ENTRY.stored_at, 0), Entry("latest", "gen_3", ENTRY.stored_at, 0)):
            assert await replies.keep(team, PRINT, later, 60, patience())
            assert await replies.drop(team, [(PRINT, ENTRY.generation_id)], patience())
            assert await replies.look(team, PRINT, patience()) == later
            assert not await replies.keep(team, PRINT, ENTRY, 60, patience())

    tell(url, story)


def test_tenant_ids_cannot_reach_another_node(url: str | None) -> None:
    """A tenant id that would break the hash tag is refused as the bug it is."""

    async def story(replies: Replies) -> None:
        with pytest.raises(ValueError, match="braces"):
            await replies.look("a}b", PRINT, patience())

    tell(url, story)


def test_processes_share() -> None:
    """What one process keeps the other finds, and what one drops is gone for the other."""

    async def play() -> None:
        with redis_server() as server:
            async with open_replies(server.url) as one, open_replies(server.url) as other:
                team = fresh_id()
                await one.keep(team, PRINT, ENTRY, 60, patience())
                assert await other.look(team, PRINT, patience()) == ENTRY
                await other.drop(team, [(PRINT, ENTRY.generation_id)], patience())
                assert await one.look(team, PRINT, patience()) is None

    asyncio.run(play())


def test_without_redis_a_miss() -> None:
    """Without Redis a look is a miss, nothing counts as kept or dropped, and each is counted as a fallback."""

    async def play() -> None:
        metrics = new_metrics()
        with redis_server() as server:
            async with open_replies(server.url, metrics) as replies:
                team = fresh_id()
                await replies.keep(team, PRINT, ENTRY, 60, patience())
                server.kill()
                assert await replies.look(team, PRINT, Patience()) is None
                assert not await replies.keep(team, PRINT, ENTRY, 60, Patience())
                assert not await replies.drop(team, [(PRINT, "gen_1"), ("e" * 64, "gen_2")], Patience())
                assert sample(metrics, "gateway_redis_fallbacks_total", part="replies") == 3

    asyncio.run(play())


def test_what_is_no_reply_is_a_miss(caplog: pytest.LogCaptureFixture) -> None:
    """A value that nobody here wrote is reported and counts as a miss."""

    async def play() -> None:
        with redis_server() as server:
            async with open_replies(server.url) as replies:
                with server.client() as client:
                    client.set("igw:replies:1:{team}:" + PRINT, b"\xff\x00")
                assert await replies.look("team", PRINT, patience()) is None
                assert "holds no reply" in caplog.text

    asyncio.run(play())


def test_look_shares_the_trip_of_the_limits() -> None:
    """A look and a charge of the limits in one turn of the event loop reach Redis as one write."""

    async def play() -> int:
        with redis_server() as server:
            metrics = new_metrics()
            async with RedisLink(parse_address(server.url), metrics) as link:
                replies, team = SharedReplies(link, metrics), Scope(fresh_id(), "acme", requests=Rate(60))
                limiter = SharedLimiter(link, metrics, processes=1)

                async def both() -> None:
                    one = patience()
                    await asyncio.gather(limiter.take((team,), fresh_id(), one), replies.look(team.id, PRINT, one))

                await both()
                with server.client() as client:
                    before = client.info("stats")["total_reads_processed"]
                    await both()
                    return int(client.info("stats")["total_reads_processed"] - before)

    assert asyncio.run(play()) == 2, "one for the two, one for the INFO that counts them"
