"""Single flight in one process: outcomes are forgotten, nobody is left waiting."""

import asyncio

from gateway.ids import new_id
from gateway.redis_link import Patience
from gateway.replies import Followed, Lead, LocalFlights
from gateway.replies.flight import OUTCOME_SECONDS


async def _lead(flights: LocalFlights, name: str, since: float = 0.0) -> Lead:
    turn = await flights.lead_or_follow("t", (name, new_id("gen")), Patience(), since=since, deadline=since)
    assert isinstance(turn, Lead)
    return turn


def test_outcomes_are_forgotten() -> None:
    """A minute after a flight ended nothing of it is kept, even for those who began before."""

    async def story() -> None:
        clock = [0.0]
        flights = LocalFlights(clock=lambda: clock[0])
        for name in ("a", "b"):
            await flights.finish(await _lead(flights, name), "done", Patience())
            clock[0] += 1
        clock[0] = OUTCOME_SECONDS - 0.1
        assert await flights.lead_or_follow("t", ("a", new_id("gen")), Patience(), since=0, deadline=0) == Followed(
            "done"
        )
        clock[0] = OUTCOME_SECONDS
        await _lead(flights, "a")
        assert await flights.lead_or_follow("t", ("b", new_id("gen")), Patience(), since=0, deadline=0) == Followed(
            "done"
        )
        clock[0] += 1
        await _lead(flights, "b")
        assert not flights._ended

    asyncio.run(story())


def test_nothing_is_left_of_a_flight() -> None:
    """A flight that ended with an outcome, or was passed on to nobody, takes no memory."""

    async def story() -> None:
        flights = LocalFlights(clock=lambda: 0.0)
        for outcome in ("done", None):
            mine = await _lead(flights, "a", since=1.0)
            waiting = [
                asyncio.create_task(
                    flights.lead_or_follow("t", ("a", new_id("gen")), Patience(), since=1.0, deadline=30.0)
                )
                for _ in range(3)
            ]
            await asyncio.sleep(0)
            if outcome is None:
                for task in waiting:
                    task.cancel()
            await flights.finish(mine, outcome, Patience())
            await asyncio.gather(*waiting, return_exceptions=True)
            assert not flights._flying

    asyncio.run(story())
