"""What single flight promises, on every backend; with Redis, `one` and `other` are two processes."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeAlias

import pytest

from gateway.replies import Flights, Followed, Lead, Overdue, Turn
from tests.contract.limits_backends import fresh_id, patience, until
from tests.contract.replies_backends import BACKENDS, backend_url, open_processes

Story: TypeAlias = Callable[[Flights, Flights], Awaitable[None]]

PRINT = "f" * 64
LONG = 30.0


@pytest.fixture(scope="module", params=BACKENDS)
def url(request: pytest.FixtureRequest) -> Iterator[str | None]:
    """Run each backend once for the module; None is in-process."""
    yield from backend_url(request.param)


def tell(url: str | None, story: Story) -> None:
    """Play one story on two processes of the backend."""

    async def play() -> None:
        async with open_processes(url) as (one, other), asyncio.timeout(60):
            await story(one, other)

    asyncio.run(play())


async def ask(
    flights: Flights, team: str, *, since: float | None = None, seconds: float = LONG, name: str | None = None
) -> Turn:
    """Ask for the same thing as everybody else; `name` is the generation's that would come of it."""
    now, generation = time.monotonic(), (PRINT, fresh_id() if name is None else name)
    return await flights.lead_or_follow(
        team, generation, patience(), since=now if since is None else since, deadline=now + seconds
    )


async def lead(flights: Flights, team: str, name: str | None = None) -> Lead:
    """Ask when nobody else does."""
    turn = await ask(flights, team, name=name)
    assert isinstance(turn, Lead)
    return turn


async def following(flights: Flights, team: str) -> asyncio.Task[Turn]:
    """Ask while somebody else leads; return when the ask is surely waiting."""
    task = asyncio.create_task(ask(flights, team))
    done, _ = await asyncio.wait([task], timeout=0.04)
    assert not done
    return task


async def a_trips_time() -> None:
    """Let the time pass within which an outcome cannot be told from one that came after the ask."""
    later = time.monotonic() + 0.2
    await until(lambda: time.monotonic() >= later, "a trip's time to pass")


def test_one_leads_and_all_get_its_outcome(url: str | None) -> None:
    """Of a hundred equal asks at once in two processes one leads, and the others get what it finished with."""

    async def story(one: Flights, other: Flights) -> None:
        team = fresh_id()
        leads = 0

        async def generate(flights: Flights) -> str:
            nonlocal leads
            match await ask(flights, team):
                case Lead() as mine:
                    leads += 1
                    await asyncio.sleep(0)
                    await flights.finish(mine, "the picture 图", patience())
                    return "the picture 图"
                case Followed(outcome=outcome):
                    return outcome
                case Overdue():
                    return "overdue"

        answers = await asyncio.gather(*(generate(flights) for flights in (one, other) * 50))
        assert set(answers) == {"the picture 图"}
        assert leads == 1

    tell(url, story)


def test_followers_are_told_at_once(url: str | None) -> None:
    """A follower in another process has the outcome long before it would have looked again, a hundred flights on."""

    async def story(one: Flights, other: Flights) -> None:
        waited = []
        for _ in range(5):
            team = fresh_id()
            mine = await lead(one, team)
            follower = await following(other, team)
            finished_at = time.monotonic()
            await one.finish(mine, "done", patience())
            assert await follower == Followed("done")
            waited.append(time.monotonic() - finished_at)
        assert sorted(waited)[2] < 0.2, waited

    tell(url, story)


def test_the_next_ask_leads_again(url: str | None) -> None:
    """An outcome is for those who were there: an ask that begins later than a trip to Redis after it leads anew."""

    async def story(one: Flights, other: Flights) -> None:
        team = fresh_id()
        for flights in (one, one, other, one):
            mine = await lead(flights, team)
            await flights.finish(mine, "a failure", patience())
            await a_trips_time()

    tell(url, story)


def test_nobody_falls_between_look_and_lead(url: str | None) -> None:
    """An ask that began before a flight ended, but asks only afterwards, gets the outcome and not the lead."""

    async def story(one: Flights, other: Flights) -> None:
        team = fresh_id()
        mine, since = await lead(one, team), time.monotonic()
        await one.finish(mine, "done", patience())
        assert await ask(one, team, since=since) == Followed("done")
        assert await ask(other, team, since=since) == Followed("done")
        await a_trips_time()
        again = await lead(other, team)
        assert await ask(one, team, since=since) == Followed("done"), "also while the next flight is under way"
        await other.finish(again, "done again", patience())
        assert await ask(one, team, since=since) in (Followed("done"), Followed("done again"))

    tell(url, story)


def test_lead_is_passed_on(url: str | None) -> None:
    """A lead that ends with nothing goes to one of those who wait, and the others wait for that one."""

    async def story(one: Flights, other: Flights) -> None:
        team = fresh_id()
        mine = await lead(one, team)
        waiting = {await following(flights, team): flights for flights in (one, other, one, other)}
        await one.finish(mine, None, patience())
        for left in (3, 2, 1):
            done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED, timeout=5)
            (task,) = done
            turn, flights = task.result(), waiting.pop(task)
            assert isinstance(turn, Lead)
            done, _ = await asyncio.wait(waiting, timeout=0.05)
            assert not done
            if left > 1:
                await flights.finish(turn, None, patience())
            else:
                await flights.finish(turn, "done", patience())
        assert [await task for task in waiting] == [Followed("done")]

    tell(url, story)


def test_passed_on_to_nobody(url: str | None) -> None:
    """A lead that is passed on while nobody waits is there for the next ask, of any process."""

    async def story(one: Flights, other: Flights) -> None:
        team = fresh_id()
        for leader in (one, other, one):
            await leader.finish(await lead(leader, team), None, patience())

    tell(url, story)


def test_nobody_goes_on_beside_a_leader(url: str | None) -> None:
    """At its deadline a follower is overdue and does not go on; the leader's outcome still counts for others."""

    async def story(one: Flights, other: Flights) -> None:
        team = fresh_id()
        mine = await lead(one, team)
        started = time.monotonic()
        turns = await asyncio.gather(*(ask(flights, team, seconds=0.3) for flights in (one, other, other)))
        assert turns == [Overdue()] * 3
        assert 0.25 < time.monotonic() - started < 2
        follower = await following(other, team)
        await one.finish(mine, "done", patience())
        assert await follower == Followed("done")

    tell(url, story)


def test_finished_once(url: str | None) -> None:
    """A second finish does nothing, neither to the outcome nor to who leads by then."""

    async def story(one: Flights, other: Flights) -> None:
        team = fresh_id()
        mine, since = await lead(one, team), time.monotonic()
        await one.finish(mine, "first", patience())
        await one.finish(mine, "second", patience())
        assert await ask(other, team, since=since) == Followed("first")
        await a_trips_time()
        theirs = await lead(other, team)
        await one.finish(mine, None, patience())
        assert await ask(one, team, seconds=0.1) == Overdue()
        await other.finish(theirs, "third", patience())

    tell(url, story)


def test_a_cancelled_follower_is_no_loss(url: str | None) -> None:
    """When those who wait leave, at whatever moment, whoever stays gets the lead or the outcome."""

    async def story(one: Flights, other: Flights) -> None:
        for turns in range(12):
            team = fresh_id()
            mine = await lead(one, team)
            leaving = [await following(flights, team) for flights in (one, other)]
            staying = await following(one, team)
            ending = asyncio.create_task(one.finish(mine, None, patience()))
            for _ in range(turns):
                await asyncio.sleep(0)
            for task in leaving:
                task.cancel()
            gone = await asyncio.gather(*leaving, return_exceptions=True)
            await ending
            held = next(
                ((turn, flights) for turn, flights in zip(gone, (one, other), strict=True) if isinstance(turn, Lead)),
                None,
            )
            if held is not None:  # it got the lead before it could leave
                await held[1].finish(held[0], None, patience())
            turn = await staying
            assert isinstance(turn, Lead)
            await one.finish(turn, "done", patience())

    tell(url, story)


def test_tenants_and_fingerprints_fly_apart(url: str | None) -> None:
    """Nobody follows another tenant, or another ask."""

    async def story(one: Flights, other: Flights) -> None:
        team = fresh_id()
        now = time.monotonic()
        turns = [
            await flights.lead_or_follow(tenant, (fingerprint, fresh_id()), patience(), since=now, deadline=now + LONG)
            for flights, tenant, fingerprint in (
                (one, team, PRINT),
                (other, fresh_id(), PRINT),
                (other, team, "e" * 64),
            )
        ]
        assert all(isinstance(turn, Lead) for turn in turns)

    tell(url, story)


def test_what_is_forgotten_is_told_to_nobody(url: str | None) -> None:
    """The outcome of a forgotten generation is gone: who began before it came leads, and another's is still there."""

    async def story(one: Flights, _other: Flights) -> None:
        team, neighbour = fresh_id(), fresh_id()
        began = time.monotonic()
        for whose in (team, neighbour):
            await one.finish(await lead(one, whose, "gen_1"), "a picture", patience())
        assert await one.forget(team, [(PRINT, "gen_0")], patience())
        assert await ask(one, team, since=began) == Followed("a picture")
        assert await one.forget(team, [(PRINT, "gen_1")], patience())
        assert isinstance(await ask(one, team, since=began), Lead)
        assert await ask(one, neighbour, since=began) == Followed("a picture")

    tell(url, story)


def test_what_is_forgotten_before_it_is_told(url: str | None) -> None:
    """A generation that is forgotten between its end and the notice of it: a follower leads, and gets none of it."""

    async def story(one: Flights, other: Flights) -> None:
        team, began = fresh_id(), time.monotonic()
        mine = await lead(one, team, "gen_1")
        follower = await following(other, team)
        assert await one.forget(team, [(PRINT, "gen_1")], patience())
        await one.finish(mine, "a picture", patience())
        finished = time.monotonic()
        theirs = await follower
        assert isinstance(theirs, Lead)
        assert time.monotonic() - finished < 3, "it does not wait for a lease that nobody renews"
        await other.finish(theirs, "another", patience())
        assert await ask(one, team, since=began) == Followed("another")

    tell(url, story)
