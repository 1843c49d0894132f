"""The leases of leaders in Redis, script by script: each may be repeated, and none touches what is another's."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import TypeAlias

import pytest

from gateway.redis_link import RedisLink, parse_address
from gateway.replies import Followed, Lead
from gateway.replies.flight import flight_key, outcome_key
from gateway.replies.leases import Ended, Granted, Held, Leases
from tests.contract.limits_backends import fresh_id, new_metrics, patience, until
from tests.contract.replies_backends import BACKENDS, backend_url, open_flights
from tests.servers.redis import redis_server

Story: TypeAlias = Callable[[RedisLink, Leases], Awaitable[None]]


@pytest.fixture(scope="module", params=BACKENDS[1:])
def url(request: pytest.FixtureRequest) -> Iterator[str | None]:
    """Run each kind of Redis once for the module."""
    yield from backend_url(request.param)


@asynccontextmanager
async def _leases(url: str) -> AsyncIterator[tuple[RedisLink, Leases]]:
    async with RedisLink(parse_address(url), new_metrics()) as link:
        yield link, Leases(link, 10)


def tell(url: str | None, story: Story) -> None:
    """Play one story on the leases of a process that renews only when told to."""
    assert url is not None

    async def play() -> None:
        async with _leases(url) as (link, leases):
            await story(link, leases)

    asyncio.run(play())


def two_leads() -> tuple[Lead, Lead]:
    """Return the leads that two processes ask for, of one flight."""
    key = flight_key(fresh_id(), "f" * 64)
    return Lead(key, fresh_id()), Lead(key, fresh_id())


def test_asking_twice_is_asking_once(url: str | None) -> None:
    """Who asks again, not knowing that it leads, still leads; another learns for how long at least."""

    async def story(link: RedisLink, leases: Leases) -> None:
        mine, theirs = two_leads()
        for _ in range(2):
            assert await leases.ask(mine, patience(), oldest=99, alive=False) == Granted()
        held = await leases.ask(theirs, patience(), oldest=99, alive=False)
        assert isinstance(held, Held)
        assert 9 < held.left <= 10
        await link.call("PEXPIRE", mine.key, 3000, patience=patience())
        assert await leases.ask(mine, patience(), oldest=99, alive=True) == Granted()
        assert await link.call("PTTL", mine.key, patience=patience()) > 9000

    tell(url, story)


def test_a_leader_asks_on_after_an_earlier_outcome(url: str | None) -> None:
    """Who leads already is not given the outcome of the flight before."""

    async def story(link: RedisLink, leases: Leases) -> None:
        del link
        mine, theirs = two_leads()
        await leases.ask(theirs, patience(), oldest=99, alive=False)
        await leases.end(theirs, "done", patience())
        assert await leases.ask(mine, patience(), oldest=-1, alive=False) == Granted()
        assert await leases.ask(mine, patience(), oldest=99, alive=False) == Granted()

    tell(url, story)


def test_a_lost_lease_is_taken_by_nobody_who_knows_of_its_leader(url: str | None) -> None:
    """A lease that is missing before its time is left to its leader; who knows of none takes it."""

    async def story(link: RedisLink, leases: Leases) -> None:
        mine, theirs = two_leads()
        leases.hold(mine)
        assert await leases.ask(theirs, patience(), oldest=99, alive=True) == Held(0)
        await leases.renew()
        assert isinstance(await leases.ask(theirs, patience(), oldest=99, alive=False), Held)
        await link.call("UNLINK", mine.key, patience=patience())
        assert await leases.ask(theirs, patience(), oldest=99, alive=False) == Granted()

    tell(url, story)


def test_renewing_takes_no_lease_of_another(url: str | None) -> None:
    """A leader that lost its lease to another, or passed it on, does not get it back by renewing."""

    async def story(link: RedisLink, leases: Leases) -> None:
        mine, theirs = two_leads()
        await leases.ask(theirs, patience(), oldest=99, alive=False)
        leases.hold(mine)
        await leases.renew()
        assert await link.call("GET", mine.key, patience=patience()) == theirs.token.encode()
        await leases.end(theirs, None, patience())
        await leases.renew()
        assert await link.call("GET", mine.key, patience=patience()) == b"free"
        assert await leases.ask(theirs, patience(), oldest=99, alive=True) == Granted(), "it was passed on, not lost"

    tell(url, story)


def test_the_end_of_a_lead_leaves_another_alone(url: str | None) -> None:
    """Who no longer leads may leave an outcome, but neither frees the lease of its successor nor passes it on."""

    async def story(link: RedisLink, leases: Leases) -> None:
        mine, theirs = two_leads()
        await leases.ask(theirs, patience(), oldest=99, alive=False)
        for outcome in (None, "late"):
            await leases.end(mine, outcome, patience())
            assert await link.call("GET", mine.key, patience=patience()) == theirs.token.encode()
        ended = await leases.ask(mine, patience(), oldest=99, alive=True)
        assert isinstance(ended, Ended)
        assert ended.outcome == "late"

    tell(url, story)


def test_an_end_told_twice_is_told_once(url: str | None) -> None:
    """An outcome that is told again grows no younger, and is forgotten after a minute."""

    async def story(link: RedisLink, leases: Leases) -> None:
        mine, theirs = two_leads()
        await leases.ask(mine, patience(), oldest=99, alive=False)
        await leases.end(mine, "done", patience())
        assert await link.call("EXISTS", mine.key, patience=patience()) == 0
        left = await link.call("PTTL", outcome_key(mine.key), patience=patience())
        assert 59_000 < left <= 60_000
        await link.call("PEXPIRE", outcome_key(mine.key), 30_000, patience=patience())
        await leases.end(mine, "done", patience())
        ended = await leases.ask(theirs, patience(), oldest=99, alive=False)
        assert isinstance(ended, Ended)
        assert ended.age > 29

    tell(url, story)


def test_a_lead_that_comes_after_its_asker_left_is_given_back(url: str | None) -> None:
    """A lead disowned while what asks for it is still on its way to Redis is given back by a later renewal."""

    async def story(link: RedisLink, leases: Leases) -> None:
        mine, theirs = two_leads()
        leases.disown(mine)
        await leases.renew()
        assert await leases.ask(mine, patience(), oldest=99, alive=False) == Granted(), "the one that was on its way"
        await leases.renew()
        assert await link.call("GET", mine.key, patience=patience()) == b"free"
        assert await leases.ask(theirs, patience(), oldest=99, alive=False) == Granted()

    tell(url, story)


def test_what_redis_missed_is_told_when_it_is_back() -> None:
    """The end of a lead that Redis could not be told of is told with a later renewal; the outcome may be any text."""

    async def play() -> None:
        with redis_server() as server:
            async with _leases(server.url) as (link, leases):
                mine, theirs = two_leads()
                await leases.ask(mine, patience(), oldest=99, alive=False)
                leases.hold(mine)
                server.kill()
                await leases.end(mine, "图\n{}", patience())
                server.start()
                await until(lambda: link.up, "Redis to be used again")
                await leases.renew()
                ended = await leases.ask(theirs, patience(), oldest=99, alive=False)
                assert isinstance(ended, Ended)
                assert ended.outcome == "图\n{}"

    asyncio.run(play())


def test_a_slow_trip_hides_no_outcome() -> None:
    """An ask that began before a flight ended gets its outcome, however long its own trip to Redis takes."""

    async def play() -> None:
        with redis_server() as server:
            async with open_flights(server.url) as one, open_flights(server.url) as other:
                team, print_ = fresh_id(), "f" * 64
                since = time.monotonic()
                long = {"since": since, "deadline": since + 30}
                mine = await one.lead_or_follow(team, (print_, "gen_1"), patience(), **long)
                assert isinstance(mine, Lead)
                # A connection that is open already, so that the trip is as slow as the server and no slower.
                warm = await other.lead_or_follow(fresh_id(), (print_, "gen_2"), patience(), **long)
                assert isinstance(warm, Lead)
                since = time.monotonic()
                await one.finish(mine, "done", patience())
                with server.stopped():
                    asking = asyncio.create_task(
                        other.lead_or_follow(team, (print_, "gen_3"), patience(), since=since, deadline=since + 30)
                    )
                    slow_until = time.monotonic() + 0.15
                    await until(lambda: time.monotonic() > slow_until, "the trip to be slow")
                assert await asking == Followed("done")

    asyncio.run(play())
