"""What both limiters promise, on every backend: in-process, Redis 7 and 6.2, Sentinel, Cluster."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeAlias

import pytest

from gateway.limits import Limiter, Rate, Scope, Scopes, ratelimit_headers
from tests.contract.limits_backends import fresh_id, new_metrics, open_limiter, patience, sample, tenant, until
from tests.contract.replies_backends import backend_url
from tests.servers.redis import any_redis, redis_server

Story: TypeAlias = Callable[[Limiter], Awaitable[None]]

_BACKENDS = ("in-process", "redis-system", "redis-6.2", "sentinel", "cluster")


@pytest.fixture(scope="module", params=_BACKENDS)
def url(request: pytest.FixtureRequest) -> Iterator[str | None]:
    """Run each backend once for the module; None is in-process."""
    yield from backend_url(request.param)


def tell(url: str | None, story: Story) -> None:
    """Play one story on a limiter of the backend."""

    async def play() -> None:
        async with open_limiter(url) as limiter:
            await story(limiter)

    asyncio.run(play())


def test_burst_then_refusal(url: str | None) -> None:
    """A whole burst is admitted at once, the next is refused, and each answer says what is left."""

    async def story(limiter: Limiter) -> None:
        team = tenant(requests=Rate(60, burst=3))
        verdicts = [await limiter.take((team,), fresh_id(), patience()) for _ in range(4)]
        assert [verdict.allowed for verdict in verdicts] == [True, True, True, False]
        assert [verdict.standings[0].remaining for verdict in verdicts] == [2, 1, 0, 0]
        assert verdicts[3].refused_by == "requests"
        assert verdicts[3].retry_after == 1
        assert ratelimit_headers([verdicts[3]]) == {
            "RateLimit-Policy": '"requests";q=60;w=60',
            "RateLimit": '"requests";r=0;t=1',
        }

    tell(url, story)


def test_burst_defaults_to_the_minute(url: str | None) -> None:
    """Without a burst of its own, a rate admits the whole minute's limit at once."""

    async def story(limiter: Limiter) -> None:
        team = tenant(requests=Rate(5))
        verdicts = [await limiter.take((team,), fresh_id(), patience()) for _ in range(6)]
        assert [verdict.allowed for verdict in verdicts] == [True] * 5 + [False]
        retry_after = verdicts[5].retry_after
        assert retry_after is not None
        assert 11 <= retry_after <= 12

    tell(url, story)


def test_waiting_exactly_retry_after_gets_in(url: str | None) -> None:
    """A client that waits exactly Retry-After is admitted."""

    async def story(limiter: Limiter) -> None:
        team = tenant(images=Rate(120, burst=2))
        assert (await limiter.enter((team,), fresh_id(), 2, patience())).allowed
        refused = await limiter.enter((team,), fresh_id(), 2, patience())
        assert refused.retry_after == 1
        due = time.monotonic() + refused.retry_after
        await until(lambda: time.monotonic() >= due, "Retry-After to pass")
        assert (await limiter.enter((team,), fresh_id(), 2, patience())).allowed

    tell(url, story)


def test_tenant_and_key_all_or_nothing(url: str | None) -> None:
    """What the key refuses costs the tenant nothing, and is named after the key."""

    async def story(limiter: Limiter) -> None:
        team = tenant(requests=Rate(100))
        narrow = Scope(id=fresh_id(), name="", requests=Rate(2), kind="key")
        for _ in range(2):
            assert (await limiter.take((team, narrow), fresh_id(), patience())).allowed
        for _ in range(5):
            refused = await limiter.take((team, narrow), fresh_id(), patience())
            assert refused.refused_by == "key-requests"
            assert refused.standings[0].remaining == 98
        other = await limiter.take((team,), fresh_id(), patience())
        assert other.standings[0].remaining == 97

    tell(url, story)


def test_images_and_places_all_or_nothing(url: str | None) -> None:
    """A generation refused for its images takes no place, and one refused a place spends no images."""

    async def story(limiter: Limiter) -> None:
        team = tenant(images=Rate(10), concurrency=1)
        assert not (await limiter.enter((team,), fresh_id(), 11, patience())).allowed
        assert (await limiter.enter((team,), "first", 4, patience())).allowed
        crowded = await limiter.enter((team,), fresh_id(), 4, patience())
        assert (crowded.refused_by, crowded.retry_after) == ("concurrency", 1)
        await limiter.leave("first", patience())
        second = await limiter.enter((team,), "second", 6, patience())
        assert second.allowed
        assert [(standing.name, standing.remaining) for standing in second.standings] == [
            ("images", 0),
            ("concurrency", 0),
        ]

    tell(url, story)


def test_more_than_the_burst_can_never_be(url: str | None) -> None:
    """An ask for more images than the burst is refused without a time to come back at."""

    async def story(limiter: Limiter) -> None:
        team = tenant(images=Rate(60, burst=4))
        refused = await limiter.enter((team,), fresh_id(), 5, patience())
        assert (refused.allowed, refused.refused_by, refused.retry_after) == (False, "images", None)

    tell(url, story)


def test_places_come_back(url: str | None) -> None:
    """As many generations as there are places are in progress at once, and leaving, even twice, frees one place."""

    async def story(limiter: Limiter) -> None:
        team = tenant(concurrency=2)
        first, second = fresh_id(), fresh_id()
        assert (await limiter.enter((team,), first, 1, patience())).allowed
        assert (await limiter.enter((team,), second, 1, patience())).allowed
        assert not (await limiter.enter((team,), fresh_id(), 1, patience())).allowed
        await limiter.leave(first, patience())
        await limiter.leave(first, patience())
        assert (await limiter.enter((team,), fresh_id(), 1, patience())).allowed
        assert not (await limiter.enter((team,), fresh_id(), 1, patience())).allowed

    tell(url, story)


def test_repeated_call_charges_once(url: str | None) -> None:
    """The same id asked again is answered the same and takes nothing, whether it takes or enters."""

    async def story(limiter: Limiter) -> None:
        team = tenant(requests=Rate(10), images=Rate(10), concurrency=3)
        same = fresh_id()
        assert await limiter.take((team,), same, patience()) == await limiter.take((team,), same, patience())
        entered = await limiter.enter((team,), same, 2, patience())
        assert entered.allowed
        assert await limiter.enter((team,), same, 2, patience()) == entered
        taken = await limiter.take((team,), fresh_id(), patience())
        assert taken.standings[0].remaining == 8
        next_in = await limiter.enter((team,), fresh_id(), 1, patience())
        assert [standing.remaining for standing in next_in.standings] == [7, 1]

    tell(url, story)


def test_shadow_counts_and_never_refuses(url: str | None) -> None:
    """A tenant in shadow mode is never refused nor told of limits, but what would be refused is counted."""

    async def play() -> None:
        metrics = new_metrics()
        async with open_limiter(url, metrics) as limiter:
            team = tenant(requests=Rate(60, burst=2), concurrency=1, shadow=True)
            verdicts = [await limiter.take((team,), fresh_id(), patience()) for _ in range(5)]
            verdicts += [await limiter.enter((team,), fresh_id(), 1, patience()) for _ in range(3)]
        assert all(verdict.allowed for verdict in verdicts)
        assert ratelimit_headers(verdicts) == {}
        assert sample(metrics, "gateway_rate_limited_total", tenant="acme", limit="requests") == 3
        assert sample(metrics, "gateway_rate_limited_total", tenant="acme", limit="concurrency") == 2

    asyncio.run(play())


def test_no_limit_and_other_tenants(url: str | None) -> None:
    """A tenant without limits is not limited, and one tenant's use is nothing to another."""

    async def story(limiter: Limiter) -> None:
        free, one, other = tenant(), tenant(requests=Rate(1)), tenant(requests=Rate(1))
        for _ in range(20):
            verdict = await limiter.take((free,), fresh_id(), patience())
            assert (verdict.allowed, verdict.standings) == (True, ())
        assert (await limiter.take((one,), fresh_id(), patience())).allowed
        assert not (await limiter.take((one,), fresh_id(), patience())).allowed
        assert (await limiter.take((other,), fresh_id(), patience())).allowed

    tell(url, story)


def test_lowered_limit_locks_nobody_out(url: str | None) -> None:
    """After a limit is lowered, nobody waits for longer than the new one takes to refill."""

    async def story(limiter: Limiter) -> None:
        team = tenant(requests=Rate(1, burst=100))
        for _ in range(50):
            await limiter.take((team,), fresh_id(), patience())
        lowered = Scope(id=team.id, name=team.name, requests=Rate(6000, burst=10))
        refused = await limiter.take((lowered,), fresh_id(), patience())
        assert (refused.allowed, refused.retry_after) == (False, 1)
        due = time.monotonic() + 1
        await until(lambda: time.monotonic() >= due, "Retry-After to pass")
        assert (await limiter.take((lowered,), fresh_id(), patience())).allowed

    tell(url, story)


def test_admitted_is_what_was_promised(url: str | None) -> None:
    """Two processes that ask without pause admit b + rT between them: at most 1 more, at most 2 % less."""
    rate = Rate(6000, burst=40)

    async def ask(limiter: Limiter, team: Scope, end: float) -> int:
        admitted = 0
        while time.monotonic() < end:
            admitted += (await limiter.take((team,), fresh_id(), patience())).allowed
            await asyncio.sleep(0)
        return admitted

    async def play() -> None:
        async with open_limiter(url) as first, open_limiter(url) as second:
            team = tenant(requests=rate)
            start = time.monotonic()
            askers = [ask(first, team, start + 1.5), ask(first if url is None else second, team, start + 1.5)]
            admitted = sum(await asyncio.gather(*askers))
            took = time.monotonic() - start
        assert admitted <= rate.size + rate.per_minute / 60 * took + 1
        assert admitted >= 0.98 * (rate.size + rate.per_minute / 60 * 1.5)
        print(f"admitted {admitted}, promised {rate.size + rate.per_minute / 60 * took:.1f}")

    asyncio.run(play())


@pytest.mark.parametrize("seed", range(3))
def test_twins_agree(seed: int) -> None:
    """Asked the same in the same order, the limiter in Redis and the one in the process decide the same."""
    chance = random.Random(seed)  # noqa: S311 -- a repeatable story

    async def play(url: str) -> None:
        async with open_limiter(url) as shared, open_limiter(None) as local:
            # So slow that no time passes during the test, as far as the limits are concerned.
            team = tenant(requests=Rate(1, burst=30), images=Rate(1, burst=40), concurrency=4)
            one_key = Scope(id=fresh_id(), name="", requests=Rate(1, burst=9), images=Rate(1, burst=15), kind="key")
            other_key = Scope(id=fresh_id(), name="", concurrency=2, images=Rate(1, burst=8), shadow=True, kind="key")
            token = Scope(id=fresh_id(), name="", requests=Rate(1, burst=3), kind="token")
            callers: list[Scopes] = [(team,), (team, one_key), (team, other_key), (team, one_key, token)]
            calls: list[tuple[str, Scopes, str, int]] = []
            for _ in range(150):
                call = (
                    chance.choice(("take", "enter", "leave")),
                    chance.choice(callers),
                    fresh_id(),
                    chance.randint(1, 10),
                )
                if calls and chance.random() < 0.2:
                    call = chance.choice(calls)
                calls.append(call)
                what, scopes, one, images = call
                match what:
                    case "take":
                        verdicts = [await twin.take(scopes, one, patience()) for twin in (shared, local)]
                    case "enter":
                        verdicts = [await twin.enter(scopes, one, images, patience()) for twin in (shared, local)]
                    case _:
                        gone = chance.choice(calls)[2]
                        await asyncio.gather(shared.leave(gone, patience()), local.leave(gone, patience()))
                        continue
                seen, expected = (
                    (verdict.allowed, verdict.violated, [standing.remaining for standing in verdict.standings])
                    for verdict in verdicts
                )
                assert seen == expected

    with redis_server(any_redis()) as server:
        asyncio.run(play(server.url))
