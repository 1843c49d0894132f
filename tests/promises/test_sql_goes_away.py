"""No paid generation is lost with PostgreSQL: what runs is answered and settles later; what is kept is still served."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count as numbers
from pathlib import Path

import orjson
import pytest

from gateway.money import format_yuan
from tests.crowd import Answer, Asking, line
from tests.servers.fleet import Fleet, fleet
from tests.servers.postgres import Postgres, postgres
from tests.servers.process import wait_until

CALLERS = 20
UNAVAILABLE = {"code": -1, "msg": "The ledger is temporarily unavailable"}


@pytest.fixture
def server() -> Iterator[Postgres]:
    """Run a PostgreSQL that may be stopped."""
    with postgres() as one:
        yield one


@pytest.fixture
def serving(tmp_path: Path, server: Postgres) -> Iterator[Fleet]:
    """Run one worker on it, without Redis."""
    with fleet(tmp_path, server.url(server.create_database())) as one:
        yield one


def all_settled(serving: Fleet, number: int) -> None:
    """Wait until so many generations are settled, and compare ledger and bill to the last micro-yuan."""
    wait_until(lambda: serving.books().states.get("settled") == number, f"{number} generations to be settled")
    books = serving.books()
    assert books.cost == books.spent == serving.billed()
    assert (books.held, books.images) == (0, number)


async def keep_asking(serving: Fleet, caller: int, ended: asyncio.Event) -> list[tuple[str, Answer]]:
    """Ask for one new picture after the other, with a pause after a refusal."""
    answers: list[tuple[str, Answer]] = []
    async with line(serving.gateway.port) as one:
        for number in numbers():
            if ended.is_set():
                return answers
            prompt = f"caller {caller}, picture {number} [delay=0.3]"
            answers.append((prompt, await one.ask(Asking(serving.key, {"prompt": prompt}))))
            if answers[-1][1].status != 200:
                with suppress(TimeoutError):
                    await asyncio.wait_for(ended.wait(), 0.2)
    return answers


async def outage(
    serving: Fleet, server: Postgres, seconds: float, during: Callable[[], None]
) -> list[tuple[str, Answer]]:
    """Stop PostgreSQL for so long under load, with load before and after; `during` looks at its begin and its end."""
    ended = asyncio.Event()
    callers = [asyncio.create_task(keep_asking(serving, caller, ended)) for caller in range(CALLERS)]

    async def until_settled(more: int) -> None:
        enough = (await asyncio.to_thread(serving.books)).states.get("settled", 0) + more
        await asyncio.to_thread(
            wait_until, lambda: serving.books().states.get("settled", 0) >= enough, "generations to be made"
        )

    await until_settled(CALLERS)
    await asyncio.to_thread(server.kill)
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await asyncio.to_thread(during)
            await asyncio.Event().wait()
    await asyncio.to_thread(during)  # by now the key was looked up too long ago to be fresh
    await asyncio.to_thread(server.start)
    await until_settled(CALLERS)
    ended.set()
    return [answer for answers in await asyncio.gather(*callers) for answer in answers]


def test_an_outage_of_sql_loses_no_paid_generation(
    serving: Fleet, server: Postgres, count: Callable[[int, int], int]
) -> None:
    """PostgreSQL is killed under load: what ran is answered and settled afterwards; new requests get 503 meanwhile."""
    seconds = count(4, 20)
    cached = Asking(serving.key, {"prompt": "seen before", "seed": 1})

    async def once(asking: Asking) -> Answer:
        async with line(serving.gateway.port) as one:
            return await one.ask(asking)

    link = asyncio.run(once(cached)).link

    def hits_and_images_are_served() -> None:
        hit = asyncio.run(once(cached))
        assert (hit.status, hit.cache) == (200, "hit")
        assert serving.gateway.http.get(link).status_code == 200
        assert serving.gateway.http.get(hit.link).status_code == 200
        assert serving.gateway.http.get("/livez").status_code == 200
        wait_until(lambda: serving.gateway.http.get("/readyz").status_code == 503, "readiness to tell")

    answers = asyncio.run(outage(serving, server, seconds, hits_and_images_are_served))

    statuses = Counter(answer.status for _, answer in answers)
    journaled = serving.gateway.log.count("settlement journaled")
    made = [answer for _, answer in answers if answer.status == 200]
    refused = [answer for _, answer in answers if answer.status != 200]
    all_settled(serving, len(made) + 1)
    print(
        f"PostgreSQL away for {seconds} s: {dict(statuses)}, {journaled} settlements journaled,"
        f" 0 paid generations lost, ledger = bill = {serving.simulator.bill_total()} yuan"
    )
    assert set(statuses) == {200, 503}
    assert journaled > 0
    assert all(answer.envelope == UNAVAILABLE and int(answer.headers["retry-after"]) >= 1 for answer in refused)
    assert len(serving.simulator.bill()) == len(made) + 1, "what was refused was not sent, what was sent was answered"
    assert {serving.gateway.http.get(answer.link).status_code for answer in made} == {200}
    assert "Traceback" not in serving.gateway.log


def test_a_journal_outlives_its_process(serving: Fleet, server: Postgres, count: Callable[[int, int], int]) -> None:
    """Killed while SQL is away and paid generations wait to settle, the next start settles them from the journal."""
    number = count(8, 50)

    async def ask_all() -> list[Answer]:
        async def one(index: int) -> Answer:
            async with line(serving.gateway.port) as own:
                return await own.ask(Asking(serving.key, {"prompt": f"journaled {index} [delay=2]"}))

        asked = [asyncio.create_task(one(index)) for index in range(number)]
        await asyncio.to_thread(
            wait_until, lambda: bool(serving.simulator.stats()["open"] == number), "the calls to be upstream"
        )
        await asyncio.to_thread(server.kill)
        return [await answer for answer in asked]

    answers = asyncio.run(ask_all())
    assert {answer.status for answer in answers} == {200}
    assert serving.gateway.log.count("settlement journaled") == number
    serving.gateway.kill()
    server.start()
    assert serving.books().states == {"reserved": number}
    serving.gateway.begin()
    all_settled(serving, number)
    assert "journal of an earlier process taken over" in serving.gateway.log
    print(f"killed with {number} settlements journaled: {number} settled by the next start, ledger = bill")
    assert {serving.gateway.http.get(answer.link).status_code for answer in answers} == {200}
    assert serving.gateway.stop() == 0
    assert list((serving.gateway.data_dir / "journal").glob("*.jsonl")) == []


def test_who_follows_a_generation_is_told_its_end_after_the_outage(serving: Fleet, server: Postgres) -> None:
    """An event stream outlives the outage, and ends with what settled from the journal.

    Meanwhile an asynchronous request is refused, and nothing is sent for it.
    """
    gateway, asynchronous = serving.gateway, {"Prefer": "respond-async"}
    generation = gateway.post(serving.key, asynchronous, prompt="[delay=1.5]").json()["id"]
    following = gateway.http.stream(
        "GET", f"/generations/{generation}/events", headers={"Authorization": f"Bearer {serving.key}"}
    )
    with following as events:
        wait_until(lambda: bool(serving.simulator.stats()["open"] == 1), "the call to be upstream")
        server.kill()
        refused = gateway.post(serving.key, asynchronous)
        assert (refused.status_code, refused.json()) == (503, UNAVAILABLE)
        assert "location" not in refused.headers
        wait_until(lambda: "settlement journaled" in gateway.log, "it to be made")
        server.start()
        *_, end = events.read().decode().strip().split("\n\n")
    assert end.startswith("id: 4\nevent: settled\ndata: ")
    assert orjson.loads(end.partition("data: ")[2])["cost_yuan"] == format_yuan(serving.billed())
    all_settled(serving, 1)
    assert serving.simulator.stats()["calls"] == 1
