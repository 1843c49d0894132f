"""Every paid image is kept: callers may leave when they like, what was paid is settled, kept, there for a repeat."""

import asyncio
from collections.abc import Callable, Iterator
from random import Random

import pytest

from tests.crowd import Answer, Asking, Line, line
from tests.servers.pair import Pair, pair
from tests.servers.process import wait_until

AT_ONCE = 30
DELAY = 0.5


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Run a gateway by itself, as it comes."""
    with pair(tmp_path_factory.mktemp("leaving")) as two:
        yield two


def kept(both: Pair) -> list[str]:
    """Return the digests of what is in the image directory under a name of the ledger."""
    rows = both.gateway.rows("SELECT name, sha256 FROM images")
    found = {path.name for path in (both.gateway.data_dir / "images").rglob("*") if path.is_file()}
    return sorted(row["sha256"] for row in rows if row["name"] in found)


def at_rest(both: Pair) -> bool:
    """Whether nothing is being worked on."""
    return both.gateway.metric("gateway_in_flight_generations") == 0 and both.simulator.stats()["open"] == 0


async def leave_after(ask: Asking, port: int, seconds: float, sent: asyncio.Barrier) -> None:
    """Send a request, wait until all have, and hang up so many seconds later, answered by then or not."""
    async with line(port) as one:
        one.writer.write(ask.written())
        await one.writer.drain()
        await sent.wait()
        asyncio.get_running_loop().call_later(seconds, one.writer.close)
        await gone(one)


async def gone(one: Line) -> None:
    """Read what comes until the connection is closed, by whichever side."""
    try:
        while True:
            await one.answer()
    except (asyncio.IncompleteReadError, OSError):
        return


def test_whoever_leaves_after_sending_loses_nothing(both: Pair, count: Callable[[int, int], int]) -> None:
    """After hang-ups at random moments every generation is settled, every image kept, nothing held, ledger = bill."""
    number, chance = count(30, 500), Random(4)  # noqa: S311 -- moments, not secrets
    moments = [chance.uniform(0, 1.5 * DELAY) for _ in range(number)]
    before = len(both.simulator.bill())

    async def wave(moments: list[float], first: int) -> None:
        async def all_upstream() -> None:
            await asyncio.to_thread(
                wait_until, lambda: bool(both.simulator.stats()["open"] == len(moments)), "the calls to be upstream"
            )
            await sent.wait()

        sent = asyncio.Barrier(len(moments) + 1)
        asked = [Asking(both.key, {"prompt": f"leaving {first + index} [delay={DELAY}]"}) for index in range(AT_ONCE)]
        await asyncio.gather(
            all_upstream(),
            *(leave_after(ask, both.gateway.port, moment, sent) for ask, moment in zip(asked, moments, strict=False)),
        )

    for first in range(0, number, AT_ONCE):
        asyncio.run(wave(moments[first : first + AT_ONCE], first))
    wait_until(lambda: at_rest(both), "everything to be settled")

    bill = both.simulator.bill()
    states = both.gateway.rows("SELECT state, count(*) AS number FROM generations GROUP BY state")
    print(
        f"{number} callers left at random moments: {states}, {len(kept(both))} images kept, held {both.gateway.held()},"
        f" ledger {both.settled()}, bill {both.simulator.bill_total()}"
    )
    assert len(bill) - before == number
    assert states == [{"state": "settled", "number": len(bill)}]
    assert kept(both) == sorted(image.sha256 for line in bill for image in line.images)
    assert both.gateway.held() == 0
    assert both.settled() == both.simulator.bill_total()
    assert "Traceback" not in both.gateway.log


def test_whoever_leaves_before_all_is_sent_asks_for_nothing(both: Pair, count: Callable[[int, int], int]) -> None:
    """A request that is cut off in its headers or its body is no call, no generation and no hold."""
    number, chance = count(20, 100), Random(5)  # noqa: S311 -- moments, not secrets

    async def cut_off(index: int) -> None:
        whole = Asking(both.key, {"prompt": f"half a request {index} {'x' * 2000}"}).written()
        async with line(both.gateway.port) as one:
            one.writer.write(whole[: chance.randrange(1, len(whole))])
            await one.writer.drain()
            one.writer.close()
            await one.writer.wait_closed()

    async def all_cut_off() -> None:
        await asyncio.gather(*(cut_off(index) for index in range(number)))

    with both.untouched():
        asyncio.run(all_cut_off())
        # Answered by the same process after it has read the rest: whatever could have begun would have.
        assert both.gateway.http.get("/livez").status_code == 200
        wait_until(lambda: at_rest(both), "the gateway to be at rest")
    print(f"{number} requests cut off before their end: 0 calls, 0 generations, held 0")
    assert "Traceback" not in both.gateway.log


def test_whoever_left_gets_it_for_nothing(both: Pair) -> None:
    """The repeat of a request that was left, by its idempotency key or as the same seeded ask, costs nothing."""
    asked = {
        "idempotency key": Asking(both.key, {"prompt": f"left [delay={DELAY}]"}, {"Idempotency-Key": "left-1"}),
        "seeded ask": Asking(both.key, {"prompt": f"left [delay={DELAY}]", "seed": 11}),
    }

    async def leave_and_return(ask: Asking) -> Answer:
        async with line(both.gateway.port) as one:
            one.writer.write(ask.written())
            await asyncio.to_thread(
                wait_until, lambda: bool(both.simulator.stats()["open"] == 1), "the call to be upstream"
            )
        await asyncio.to_thread(wait_until, lambda: at_rest(both), "the generation to be settled")
        async with line(both.gateway.port) as one:
            return await one.ask(ask)

    for name, ask in asked.items():
        calls = both.simulator.stats()["calls"]
        answer = asyncio.run(leave_and_return(ask))
        print(f"left, then repeated by {name}: {answer.status}, cost {answer.headers['x-cost-yuan']}")
        assert (answer.status, answer.headers["x-cost-yuan"]) == (200, "0.000000")
        assert both.gateway.http.get(answer.link).status_code == 200
        assert both.simulator.stats()["calls"] == calls + 1


def test_whoever_leaves_while_being_read_either_pays_or_does_not(both: Pair, count: Callable[[int, int], int]) -> None:
    """A caller who hangs up in the same breath gets a settled generation or none, never half of one."""
    number, before = count(20, 200), both.state()

    async def send_and_hang_up(index: int) -> None:
        async with line(both.gateway.port) as one:
            one.writer.write(Asking(both.key, {"prompt": f"gone at once {index}"}).written())
            await one.writer.drain()
            one.writer.close()
            await one.writer.wait_closed()

    async def everybody() -> None:
        await asyncio.gather(*(send_and_hang_up(index) for index in range(number)))

    asyncio.run(everybody())
    assert both.gateway.http.get("/livez").status_code == 200
    wait_until(lambda: at_rest(both), "everything to be settled")
    after = both.state()
    print(
        f"{number} hung up at once: {after[0] - before[0]} generations, {after[2] - before[2]} calls, held {after[1]}"
    )
    assert after[0] - before[0] == after[2] - before[2]
    assert after[1] == 0
    assert both.settled() == both.simulator.bill_total()
