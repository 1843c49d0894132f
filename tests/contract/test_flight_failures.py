"""What single flight over several processes does when a leader dies, or Redis is lost, slow, emptied, or back."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from gateway.metrics import Metrics
from gateway.redis_link import Patience, RedisLink, parse_address
from gateway.replies import Flights, Followed, Lead, Overdue, SharedFlights, Turn
from gateway.replies.leases import Granted, Leases
from tests.contract.limits_backends import fresh_id, new_metrics, patience, sample, until
from tests.contract.replies_backends import open_flights
from tests.servers.redis import Server, redis_server

PRINT = "f" * 64
LEASE = 1.5
POLL = 0.1
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """Share one server among the tests that leave it running."""
    with redis_server() as running:
        yield running


def quick(url: str, metrics: Metrics | None = None) -> AbstractAsyncContextManager[Flights]:
    """Open the flights of one process whose leases are short."""
    return open_flights(url, metrics, lease_seconds=LEASE, poll_seconds=POLL)


async def ask(flights: Flights, team: str, one: Patience | None = None, seconds: float = 30) -> Turn:
    """Ask for the same thing as everybody else."""
    now = time.monotonic()
    own = patience() if one is None else one
    return await flights.lead_or_follow(team, (PRINT, fresh_id()), own, since=now, deadline=now + seconds)


async def lead(flights: Flights, team: str) -> Lead:
    """Ask when nobody else does."""
    turn = await ask(flights, team)
    assert isinstance(turn, Lead)
    return turn


async def following(flights: Flights, team: str) -> asyncio.Task[Turn]:
    """Ask while somebody else leads; return when the ask is surely waiting."""
    task = asyncio.create_task(ask(flights, team))
    done, _ = await asyncio.wait([task], timeout=0.1)
    assert not done
    return task


def fallbacks(metrics: Metrics) -> float:
    """Return how many flights were begun without Redis."""
    return sample(metrics, "gateway_redis_fallbacks_total", part="flight")


def test_a_killed_leader_is_succeeded_once(server: Server, count: Callable[[int, int], int]) -> None:
    """When the leader's process is killed, one of those who wait leads within a lease, and the others follow it."""

    async def trial(one: Flights, other: Flights) -> float:
        team = fresh_id()
        leader = await asyncio.create_subprocess_exec(
            *(sys.executable, str(ROOT / "tests/contract/lead_and_wait.py"), server.url, team, PRINT),
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
        )
        try:
            assert leader.stdout is not None
            assert await leader.stdout.readline() == b"Lead\n"
            waiting = {await following(flights, team): flights for flights in (one, other, one, other)}
        finally:
            leader.kill()
            await leader.wait()
        killed_at = time.monotonic()
        done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED, timeout=LEASE + 5)
        took = time.monotonic() - killed_at
        (first,) = done
        turn, successor = first.result(), waiting.pop(first)
        assert isinstance(turn, Lead)
        await successor.finish(turn, "done", patience())
        assert [await task for task in waiting] == [Followed("done")] * 3
        return took

    async def play() -> None:
        async with quick(server.url) as one, quick(server.url) as other:
            took = [await trial(one, other) for _ in range(count(2, 50))]
        print(f"{len(took)} leaders killed, 1 successor each, at most {max(took):.2f} s later (lease {LEASE} s)")
        assert max(took) < LEASE + POLL + 0.5

    asyncio.run(play())


def test_a_living_leader_keeps_the_lead(server: Server) -> None:
    """However long a leader is at work, its lease is renewed and nobody goes on beside it."""

    async def play() -> None:
        async with quick(server.url) as one, quick(server.url) as other:
            team = fresh_id()
            mine = await lead(one, team)
            waiting = [await following(flights, team) for flights in (one, other)]
            done, _ = await asyncio.wait(waiting, timeout=2 * LEASE)
            assert not done
            await one.finish(mine, "done", patience())
            assert [await task for task in waiting] == [Followed("done")] * 2

    asyncio.run(play())


def test_the_outcome_of_a_stalled_leader_counts(server: Server) -> None:
    """A leader that was taken for dead and then finishes still answers those who wait."""

    async def play() -> None:
        async with RedisLink(parse_address(server.url), metrics := new_metrics()) as link, quick(server.url) as other:
            team = fresh_id()
            stalled = SharedFlights(link, metrics, lease_seconds=0.3)  # not entered: it renews nothing
            old = await lead(stalled, team)
            new = await ask(other, team)
            assert isinstance(new, Lead)
            async with quick(server.url) as third:
                waiting = await following(third, team)
                await stalled.finish(old, "late", patience())
                assert await waiting == Followed("late")
                assert await ask(third, team, seconds=0.3) in (Followed("late"), Overdue())
            await other.finish(new, "done", patience())

    asyncio.run(play())


@pytest.mark.alone
def test_lost_notices_cost_a_poll(server: Server) -> None:
    """A follower whose subscription is cut has the outcome at its next look."""

    async def play() -> None:
        async with open_flights(server.url) as one, open_flights(server.url) as other:
            team = fresh_id()
            mine = await lead(one, team)
            waiting = await following(other, team)
            with server.client() as client:
                assert client.client_kill_filter(_type="pubsub") >= 1
            finished_at = time.monotonic()
            await one.finish(mine, "done", patience())
            assert await waiting == Followed("done")
            assert time.monotonic() - finished_at < 0.5 + 0.5, "the poll, and what a loaded machine adds"

    asyncio.run(play())


def test_a_new_subscription_makes_up_for_lost_notices(server: Server) -> None:
    """A follower looks as soon as its process is subscribed again, whenever its next look would have been."""

    async def play() -> None:
        async with open_flights(server.url) as one, open_flights(server.url, poll_seconds=60) as other:
            team = fresh_id()
            mine = await lead(one, team)
            waiting = await following(other, team)
            with server.client() as client:
                assert client.client_kill_filter(_type="pubsub") >= 1
            finished_at = time.monotonic()
            await one.finish(mine, "done", patience())
            assert await waiting == Followed("done")
            assert time.monotonic() - finished_at < 5

    asyncio.run(play())


def test_flushall_costs_no_second_call() -> None:
    """When Redis forgets the lease of a living leader, followers wait for the leader to put it back."""

    async def play() -> None:
        with redis_server() as server:
            async with quick(server.url) as one, quick(server.url) as other:
                team = fresh_id()
                mine = await lead(one, team)
                waiting = await following(other, team)
                with server.client() as client:
                    client.flushall()
                    await until(lambda: bool(client.keys("igw:flight:*")), "the lease to be put back", LEASE)
                done, _ = await asyncio.wait([waiting], timeout=LEASE + 4 * POLL)
                assert not done
                await one.finish(mine, "done", patience())
                assert await waiting == Followed("done")

    asyncio.run(play())


def test_redis_killed_while_following() -> None:
    """When Redis is killed nobody hangs: after a lease one ask of each process goes on, and the others follow it."""

    async def play() -> None:
        metrics = new_metrics()
        with redis_server() as server:
            async with quick(server.url) as one, quick(server.url, metrics) as other:
                team = fresh_id()
                mine = await lead(one, team)
                at_home = await following(one, team)
                first = await following(other, team)
                second = await following(other, team)
                server.kill()
                killed_at = time.monotonic()
                turn = await first
                assert isinstance(turn, Lead)
                assert LEASE / 2 < time.monotonic() - killed_at < LEASE + POLL + 1
                assert fallbacks(metrics) == 1
                await other.finish(turn, "elsewhere", Patience())
                assert await second == Followed("elsewhere")
                await one.finish(mine, "done", Patience())
                assert await at_home == Followed("done")

    asyncio.run(play())


def test_redis_back_before_the_lease_ends() -> None:
    """When Redis is killed and back, empty, within a lease, the leader stays the only one, and is heard."""

    async def play() -> None:
        with redis_server() as server:
            async with open_flights(server.url) as one, open_flights(server.url) as other:
                team = fresh_id()
                mine = await lead(one, team)
                waiting = await following(other, team)
                server.kill()
                await one.finish(mine, "done", Patience())
                done, _ = await asyncio.wait([waiting], timeout=1)
                assert not done, "it waits for as long as the lease may last"
                server.start()
                assert await asyncio.wait_for(waiting, 10) == Followed("done")

    asyncio.run(play())


def test_flights_begun_without_redis_are_leased_when_it_is_back() -> None:
    """Without Redis one ask of each process leads; the lease is made once Redis is back, and others then follow."""

    async def play() -> None:
        metrics = new_metrics()
        with redis_server() as server:
            async with quick(server.url, metrics) as one, quick(server.url) as other:
                team = fresh_id()
                server.kill()
                mine = await ask(one, team, Patience())
                assert isinstance(mine, Lead)
                assert fallbacks(metrics) == 1
                assert await ask(one, team, seconds=0.2) == Overdue(), "single flight holds in the process"
                server.start()
                with server.client() as client:
                    await until(lambda: bool(client.keys("igw:flight:*")), "the lease to be made")
                    await until(lambda: sample(metrics, "gateway_redis_up") == 1, "Redis to be used again")
                waiting = await following(other, team)
                await one.finish(mine, "done", patience())
                assert await waiting == Followed("done")

    asyncio.run(play())


@pytest.mark.alone
def test_frozen_redis_holds_nobody_up() -> None:
    """When Redis is frozen an ask leads within its patience, and a follower goes on after a lease at the latest."""

    async def play() -> None:
        with redis_server() as server:
            async with quick(server.url) as one, quick(server.url) as other:
                team = fresh_id()
                mine = await lead(one, team)
                waiting = await following(other, team)
                with server.stopped():
                    started = time.monotonic()
                    assert isinstance(await ask(other, fresh_id(), Patience()), Lead)
                    assert time.monotonic() - started < 0.75, "0.6 s, and what a loaded machine adds"
                    turn = await waiting
                    assert isinstance(turn, Lead)
                    assert time.monotonic() - started < LEASE + 0.6 + POLL + 0.5
                    started = time.monotonic()
                    await one.finish(mine, "done", Patience())
                    await other.finish(turn, "elsewhere", Patience())
                    assert time.monotonic() - started < 1.5

    asyncio.run(play())


def test_a_lead_given_to_who_has_left_is_handed_back(server: Server) -> None:
    """A lead that Redis gave to an asker who had already left is free again long before its lease would have ended."""

    async def play() -> None:
        async with open_flights(server.url) as one, open_flights(server.url) as other:
            team = fresh_id()
            with server.client() as client:
                leaving = asyncio.create_task(ask(one, team))
                while not leaving.cancelling():
                    await asyncio.sleep(0)
                    if client.keys(f"*{team}*"):
                        leaving.cancel()
            (gone,) = await asyncio.gather(leaving, return_exceptions=True)
            assert isinstance(gone, asyncio.CancelledError)
            started = time.monotonic()
            await lead(other, team)
            assert time.monotonic() - started < 1

    asyncio.run(play())


def test_leaving_at_any_moment_is_no_loss(server: Server) -> None:
    """Whenever askers leave, the next one leads at a renewal at the latest."""

    async def play() -> None:
        async with quick(server.url) as one, quick(server.url) as other:
            for turns in range(30):
                team = fresh_id()
                leaving = asyncio.create_task(ask(one, team))
                for _ in range(turns):
                    await asyncio.sleep(0)
                leaving.cancel()
                (gone,) = await asyncio.gather(leaving, return_exceptions=True)
                if isinstance(gone, Lead):
                    await one.finish(gone, None, patience())
                started = time.monotonic()
                await other.finish(await lead(other, team), "done", patience())
                assert time.monotonic() - started < 1

    asyncio.run(play())


def test_finishing_during_a_renewal_finishes(server: Server) -> None:
    """A lead that ends while its lease is being renewed does not come back."""

    async def play() -> None:
        async with RedisLink(parse_address(server.url), new_metrics()) as link:
            leases = Leases(link, 10)
            for turns in range(40):
                mine = Lead(f"igw:flight:1:{{{fresh_id()}}}:{PRINT}", fresh_id())
                assert await leases.ask(mine, patience(), oldest=0, alive=False) == Granted()
                leases.hold(mine)
                renewal = asyncio.create_task(leases.renew())
                for _ in range(turns % 8):
                    await asyncio.sleep(0)
                await leases.end(mine, None if turns % 2 else "done", patience())
                await renewal
                await leases.renew()
                theirs = Lead(mine.key, fresh_id())
                assert isinstance(await leases.ask(theirs, patience(), oldest=-1, alive=False), Granted)

    asyncio.run(play())
