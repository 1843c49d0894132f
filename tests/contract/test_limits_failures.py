"""What the limits of several processes do when Redis is lost, slow, emptied, or back."""

import asyncio
import time

import pytest

from gateway.limits import Limiter, Rate, Scope, SharedLimiter, Verdict
from gateway.metrics import Metrics
from gateway.redis_link import Patience, RedisLink, parse_address
from tests.contract.limits_backends import fresh_id, new_metrics, open_limiter, patience, sample, tenant
from tests.servers.redis import any_redis, redis_cluster, redis_sentinels, redis_server

_SLOW = Rate(1, burst=10)
"""So slow that no time passes during a test, as far as the limit is concerned."""


async def _take(limiter: Limiter, team: Scope) -> Verdict:
    return await limiter.take((team,), fresh_id(), Patience())


def _fallbacks(metrics: Metrics) -> float:
    return sample(metrics, "gateway_redis_fallbacks_total", part="limits")


async def _recovered(limiter: Limiter, metrics: Metrics, seconds: float = 5) -> None:
    """Wait until Redis answers a request again."""
    free = tenant(requests=Rate(1000))
    deadline = time.monotonic() + seconds
    while True:
        before = _fallbacks(metrics)
        await _take(limiter, free)
        if _fallbacks(metrics) == before:
            return
        assert time.monotonic() < deadline, f"Redis was not asked again within {seconds} s"
        await asyncio.sleep(0.02)


def test_redis_killed_and_back() -> None:
    """When Redis is killed nobody is refused for it, the fallback is counted, and Redis is used again within 5 s."""

    async def play() -> None:
        metrics = new_metrics()
        with redis_server() as server:
            async with open_limiter(server.url, metrics) as limiter:
                team = tenant(requests=Rate(600))
                assert (await _take(limiter, team)).allowed
                server.kill()
                for _ in range(50):
                    assert (await _take(limiter, team)).allowed
                assert _fallbacks(metrics) == 50
                assert sample(metrics, "gateway_redis_up") == 0
                server.start()
                await _recovered(limiter, metrics)
                assert sample(metrics, "gateway_redis_up") == 1

    asyncio.run(play())


def test_frozen_redis_refuses_nobody() -> None:
    """When Redis is frozen every request goes on within 0.6 s, and Redis is used again within 5 s of its waking."""

    async def timed(limiter: Limiter, team: Scope) -> float:
        start = time.monotonic()
        assert (await _take(limiter, team)).allowed
        return time.monotonic() - start

    async def play() -> None:
        metrics = new_metrics()
        with redis_server() as server:
            async with open_limiter(server.url, metrics) as limiter:
                team = tenant(requests=Rate(6000))
                await _take(limiter, team)
                with server.stopped():
                    waits = await asyncio.gather(*(timed(limiter, team) for _ in range(60)))
                    waits += [await timed(limiter, team) for _ in range(10)]
                assert max(waits) < 1, "0.6 s, and what a loaded machine adds"
                await _recovered(limiter, metrics)

    asyncio.run(play())


def test_loss_of_redis_is_no_new_burst() -> None:
    """A process that saw the burst used up goes on refusing when Redis is killed, and when it is back, empty."""

    async def play() -> None:
        metrics = new_metrics()
        with redis_server() as server:
            async with open_limiter(server.url, metrics, processes=2) as limiter:
                team = tenant(requests=_SLOW)
                assert all([(await _take(limiter, team)).allowed for _ in range(10)])
                server.kill()
                assert not any([(await _take(limiter, team)).allowed for _ in range(10)])
                server.start()
                await _recovered(limiter, metrics)
                assert not (await _take(limiter, team)).allowed

    asyncio.run(play())


def test_spending_while_redis_is_gone_counts_when_it_is_back() -> None:
    """What a process admitted on its own is known to the other processes once it asks Redis again."""

    async def play() -> None:
        metrics, others = new_metrics(), new_metrics()
        with redis_server() as server:
            async with (
                open_limiter(server.url, metrics, processes=2) as one,
                open_limiter(server.url, others, processes=2) as other,
            ):
                team = tenant(requests=_SLOW)
                server.kill()
                assert sum([(await _take(one, team)).allowed for _ in range(8)]) == 5, "its share of ten"
                server.start()
                await _recovered(one, metrics)
                assert not (await _take(one, team)).allowed
                await _recovered(other, others)
                assert not (await _take(other, team)).allowed

    asyncio.run(play())


def test_shares_round_up() -> None:
    """Without Redis each of three processes admits a third of ten, rounded up, for rates and for places."""

    async def play() -> None:
        async with (
            RedisLink(parse_address("redis://127.0.0.1:1"), metrics := new_metrics()) as link,
            SharedLimiter(link, metrics, processes=3) as limiter,
        ):
            team = tenant(requests=_SLOW, images=_SLOW, concurrency=10)
            assert sum([(await _take(limiter, team)).allowed for _ in range(10)]) == 4
            entered = [await limiter.enter((team,), fresh_id(), 1, patience()) for _ in range(10)]
            assert sum(verdict.allowed for verdict in entered) == 4
            assert [standing.quota for standing in entered[0].standings] == [1, 10]
            greedy = tenant(images=_SLOW)
            assert (await limiter.enter((greedy,), fresh_id(), 10, patience())).allowed, "not more than the burst"

    asyncio.run(play())


def test_flushall_is_no_new_burst() -> None:
    """FLUSHALL forgets neither the rate nor the places of generations in progress."""

    async def play() -> None:
        with redis_server() as server:
            async with (
                RedisLink(parse_address(server.url), metrics := new_metrics()) as link,
                SharedLimiter(link, metrics, processes=1) as limiter,
                open_limiter(server.url) as other,
            ):
                team = tenant(requests=_SLOW, concurrency=1)
                for _ in range(10):
                    await _take(limiter, team)
                assert (await limiter.enter((team,), fresh_id(), 1, patience())).allowed
                with server.client() as client:
                    client.flushall()
                assert not (await _take(limiter, team)).allowed
                await limiter.renew()
                assert not (await other.enter((team,), fresh_id(), 1, patience())).allowed

    asyncio.run(play())


def test_lost_reply_is_charged_once() -> None:
    """A request whose answer was lost, asked again with the same id, is charged once."""

    async def play() -> None:
        metrics = new_metrics()
        with redis_server() as server:
            async with open_limiter(server.url, metrics) as limiter:
                team, same = tenant(requests=Rate(1, burst=100)), fresh_id()
                await _take(limiter, team)
                with server.stopped():
                    await limiter.take((team,), same, Patience(0.1))
                    assert _fallbacks(metrics) == 1
                await _recovered(limiter, metrics)
                again = await limiter.take((team,), same, patience())
                assert again.standings[0].remaining == 98
                assert (await _take(limiter, team)).standings[0].remaining == 97

    asyncio.run(play())


def test_places_end_with_their_process() -> None:
    """A place is kept for as long as its process renews it, and is free a lease after the process is gone."""

    async def play() -> None:
        with redis_server() as server:
            async with (
                RedisLink(parse_address(server.url), metrics := new_metrics()) as link,
                SharedLimiter(link, metrics, processes=1, lease_seconds=0.6) as survivor,
            ):
                team, third = tenant(concurrency=2), SharedLimiter(link, metrics, processes=1)
                assert (await survivor.enter((team,), fresh_id(), 1, patience())).allowed
                async with SharedLimiter(link, metrics, processes=1, lease_seconds=0.6) as victim:
                    assert (await victim.enter((team,), fresh_id(), 1, patience())).allowed
                    alive_until = time.monotonic() + 1.5
                    while time.monotonic() < alive_until:
                        assert not (await third.enter((team,), fresh_id(), 1, patience())).allowed
                        await asyncio.sleep(0.05)
                gone_at = time.monotonic()
                while not (await third.enter((team,), fresh_id(), 1, patience())).allowed:
                    assert time.monotonic() < gone_at + 5, "the lease has no end"
                    await asyncio.sleep(0.02)
                assert not (await third.enter((team,), fresh_id(), 1, patience())).allowed, "one of the two is alive"

    asyncio.run(play())


def test_leaving_during_a_renewal_leaves() -> None:
    """A place given back while the leases are being renewed stays given back."""

    async def play() -> None:
        with redis_server() as server:
            async with (
                RedisLink(parse_address(server.url), metrics := new_metrics()) as link,
                SharedLimiter(link, metrics, processes=1) as limiter,
            ):
                team = tenant(concurrency=1)
                for turns in range(40):
                    one = fresh_id()
                    assert (await limiter.enter((team,), one, 1, patience())).allowed
                    renewal = asyncio.create_task(limiter.renew())
                    for _ in range(turns % 8):
                        await asyncio.sleep(0)
                    await limiter.leave(one, patience())
                    await renewal

    asyncio.run(play())


def test_a_place_given_back_without_redis_is_freed_when_it_is_back() -> None:
    """Renewals that fail while Redis is away forget no place that was given back meanwhile."""

    async def play() -> None:
        with redis_server() as server:
            async with (
                RedisLink(parse_address(server.url), metrics := new_metrics()) as link,
                SharedLimiter(link, metrics, processes=1) as limiter,
                open_limiter(server.url) as other,
            ):
                team, one = tenant(concurrency=1), fresh_id()
                assert (await limiter.enter((team,), one, 1, patience())).allowed
                with server.stopped():
                    while link.up:
                        await _take(limiter, tenant(requests=_SLOW))
                    await limiter.leave(one, Patience())
                    await limiter.renew()
                await until_free(other, team)

    asyncio.run(play())


async def until_free(limiter: Limiter, team: Scope) -> None:
    """Wait until the tenant has a free place, for a part of the lease at the most."""
    deadline = time.monotonic() + 5
    while not (await limiter.enter((team,), fresh_id(), 1, patience())).allowed:
        assert time.monotonic() < deadline, "the place was not given back"
        await asyncio.sleep(0.02)


def test_cancelled_entry_is_freed_by_the_next_renewal() -> None:
    """A place that Redis gave to a caller who had already left is given back."""

    async def play() -> None:
        with redis_server() as server:
            async with (
                RedisLink(parse_address(server.url), metrics := new_metrics()) as link,
                SharedLimiter(link, metrics, processes=1) as limiter,
            ):
                team = tenant(concurrency=1)
                with server.client() as client:
                    entering = asyncio.create_task(limiter.enter((team,), fresh_id(), 1, patience()))
                    while not client.keys("*concurrency*"):
                        await asyncio.sleep(0)
                        if client.keys("*concurrency*"):
                            entering.cancel()
                outcome = await asyncio.gather(entering, return_exceptions=True)
                assert isinstance(outcome[0], asyncio.CancelledError)
                assert not (await limiter.enter((team,), fresh_id(), 1, patience())).allowed
                await limiter.renew()
                assert (await limiter.enter((team,), fresh_id(), 1, patience())).allowed

    asyncio.run(play())


@pytest.mark.alone
def test_sentinel_failover() -> None:
    """When the primary dies nobody is refused for it, and its successor is used without a restart."""

    async def play() -> None:
        metrics = new_metrics()
        with redis_sentinels(any_redis()) as servers:
            async with open_limiter(servers.url, metrics) as limiter:
                team = tenant(requests=Rate(60_000))
                assert (await _take(limiter, team)).allowed
                servers.primary.kill()
                for _ in range(20):
                    start = time.monotonic()
                    assert (await _take(limiter, team)).allowed
                    assert time.monotonic() - start < 1
                await _recovered(limiter, metrics, seconds=20)
                with servers.replica.client() as client:
                    assert client.info("replication")["role"] == "master"

    asyncio.run(play())


@pytest.mark.alone
def test_cluster_node_lost_and_back() -> None:
    """When a node of the cluster dies nobody is refused for it, and it is used again when it is back."""

    async def play() -> None:
        metrics = new_metrics()
        with redis_cluster(any_redis()) as cluster:
            async with open_limiter(cluster.url, metrics) as limiter:
                teams = [tenant(requests=Rate(60_000)) for _ in range(12)]
                assert all([(await _take(limiter, team)).allowed for team in teams])
                assert _fallbacks(metrics) == 0
                cluster.nodes[1].kill()
                for team in teams * 3:
                    start = time.monotonic()
                    assert (await _take(limiter, team)).allowed
                    assert time.monotonic() - start < 1
                assert _fallbacks(metrics) > 0
                cluster.nodes[1].start()
                for team in teams:
                    await _steady(limiter, metrics, team)

    asyncio.run(play())


async def _steady(limiter: Limiter, metrics: Metrics, team: Scope) -> None:
    """Wait until Redis decides for this tenant again."""
    deadline = time.monotonic() + 15
    while True:
        before = _fallbacks(metrics)
        await _take(limiter, team)
        if _fallbacks(metrics) == before:
            return
        assert time.monotonic() < deadline, "its node was not used again"
        await asyncio.sleep(0.05)
