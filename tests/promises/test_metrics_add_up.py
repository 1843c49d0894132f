"""What an operator sees is what was paid: over all workers, and with however many tenants and made-up models."""

import asyncio
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random

import httpx
import pytest
from sqlalchemy import Connection

from gateway.cli.access import administration, in_database
from gateway.metrics import TENANTS_NAMED
from gateway.money import MICROS_PER_YUAN
from gateway.settings import load
from tests.crowd import Asking, Line, lines
from tests.servers.fleet import Fleet, fleet
from tests.servers.gateway import elsewhere
from tests.servers.postgres import Postgres
from tests.servers.process import wait_until
from tests.servers.redis import Server

AT_ONCE = 8
"""Connections to each worker."""

SLOWEST_SCRAPE = 0.2
OTHER_MODEL = "flux-1.1-pro"
BAD_KEYS = 20
POLICIES: Sequence[dict[str, object]] = (
    *({} for _ in range(7)),
    {"budget_total": "0.3"},
    {"requests_per_minute": 3},
    {"requests_per_minute": 3, "shadow": True},
)


@pytest.fixture
def crowded(tmp_path: Path, postgres_server: Postgres, redis: Server) -> Iterator[Fleet]:
    """Give two workers on a PostgreSQL of which nobody else has spent anything."""
    name = postgres_server.create_database()
    with fleet(tmp_path, postgres_server.url(name), redis_url=redis.url, workers="2") as serving:
        yield serving
    postgres_server.drop_database(name)


def many_tenants(serving: Fleet, number: int) -> list[str]:
    """Make tenants of all kinds in one transaction; return a key of each."""
    configured = load(serving.gateway.environment)
    admin = administration(configured)

    def make(connection: Connection) -> list[str]:
        keys = []
        for place in range(number):
            name = f"tenant-{place:04}"
            admin.create_tenant(connection, name, POLICIES[place % len(POLICIES)])
            keys.append(admin.create_key(connection, name)[1])
        return keys

    return in_database(make, configured)


def begin_anew(serving: Fleet) -> None:
    """Start the workers again: with tenants that are there from the start it is certain which ones are named."""
    assert serving.gateway.stop() == 0
    begun = serving.gateway.log.count('"event":"serving"')
    serving.gateway.begin()
    wait_until(lambda: serving.gateway.log.count('"event":"serving"') > begun, "all workers to serve")


def one_of_all(number: int, key: str, chance: Random) -> Asking:
    """Ask for something that goes well, is known, goes wrong, or is refused."""
    unique = f"picture {number}"
    kinds = (
        Asking(key, {"prompt": unique}),
        Asking(key, {"prompt": unique, "seed": number}),
        Asking(key, {"model": OTHER_MODEL, "width": 256, "height": 256, "prompt": unique}),
        Asking(key, {"prompt": "the same", "seed": 7}),
        Asking(key, {"prompt": "the same key"}, {"Idempotency-Key": "the-same"}),
        Asking(key, {"prompt": f"{unique} [refuse]"}),
        Asking(key, {"prompt": f"{unique} [status=500]"}),
        Asking(key, {"prompt": f"{unique} [status=429 retry-after=60]"}),
        Asking(key, {"prompt": f"{unique} [no-images]"}),
        Asking(key, {"prompt": ""}),
    )
    return chance.choices(kinds, weights=(4, 2, 2, 2, 1, 1, 1, 1, 1, 1))[0]


async def ask_all(serving: Fleet, asked: Sequence[Asking]) -> Counter[int]:
    """Ask for it all over a few connections to each worker; return how often which status was answered."""
    waiting, statuses = list(asked), Counter[int]()

    async def work(line: Line) -> None:
        while waiting:
            statuses[(await line.ask(waiting.pop())).status] += 1

    async with lines(serving.gateway, AT_ONCE) as opened:
        await asyncio.gather(*(work(line) for each in opened.values() for line in each))
    return statuses


def scrape(serving: Fleet) -> tuple[str, float]:
    """Scrape five times; return the text and the median of the seconds it took."""
    took = []
    with httpx.Client(trust_env=False, timeout=20) as client:
        for _ in range(5):
            begun = time.perf_counter()
            text = client.get(f"http://127.0.0.1:{serving.gateway.metrics_port}/metrics").raise_for_status().text
            took.append(time.perf_counter() - begun)
    return text, statistics.median(took)


def test_counters_ledger_and_bill_are_one(crowded: Fleet, count: Callable[[int, int], int]) -> None:
    """After mixed requests from more tenants than have labels, and for made-up models, all three say the same."""
    tenants, requests, made_up = count(250, 1_000), count(1_000, 10_000), count(250, 10_000)
    chance = Random(11)  # noqa: S311 -- a test's choice
    keys = many_tenants(crowded, tenants)
    begin_anew(crowded)
    asked = [one_of_all(number, chance.choice(keys), chance) for number in range(requests)]
    asked += [Asking(chance.choice(keys), {"model": f"made-up-{number}", "prompt": "p"}) for number in range(made_up)]
    statuses = asyncio.run(ask_all(crowded, asked))
    for _ in range(BAD_KEYS):
        statuses[crowded.gateway.post(keys[0] + "x", dict([elsewhere()])).status_code] += 1
    text, seconds = scrape(crowded)
    samples = crowded.gateway.metrics()
    named = [one for one in samples if "tenant" in one.labels]
    labels = {one.labels["tenant"] for one in named}
    models = {one.labels["model"] for one in samples if "model" in one.labels}
    counted = round(crowded.gateway.metric("gateway_cost_yuan_total") * MICROS_PER_YUAN)
    books = crowded.books()
    print(
        f"{statuses.total()} requests of {tenants} tenants on 2 workers: {dict(sorted(statuses.items()))}; cost "
        f"counter {counted / 1e6:.6f}, ledger {books.cost / 1e6:.6f}, bill {crowded.billed() / 1e6:.6f} yuan; "
        f"{len(samples)} series, {len(labels)} tenants and {len(models)} models in them; scrape {seconds * 1e3:.0f} ms"
    )
    assert {200, 400, 401, 402, 429, 502, 503} <= statuses.keys()
    assert counted == books.cost == crowded.billed()
    assert books.held == 0
    assert crowded.gateway.metric("gateway_requests_total") == statuses.total()
    assert crowded.gateway.metric("gateway_images_total", outcome="generated") == books.images
    assert len(labels - {"other", "none"}) <= TENANTS_NAMED
    assert models <= {"none", "flux-2-pro", OTHER_MODEL}
    assert "made-up" not in text
    assert seconds <= SLOWEST_SCRAPE
