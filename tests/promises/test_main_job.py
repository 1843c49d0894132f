"""The main job: every yuan that upstream bills is in the ledger, every image that it drew is kept and served."""

import hashlib
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.servers.gateway import describe
from tests.servers.pair import Pair, pair
from tests.servers.simulator import launched

AT_ONCE = 8
MIX: tuple[tuple[str, int, dict[str, Any]], ...] = (
    ("", 200, {"aspect_ratio": "16:9"}),
    ("", 200, {"model": "gemini-2.5-flash-image", "aspect_ratio": "3:4"}),
    ("", 200, {"width": 512, "height": 256, "output_format": "png", "seed": 7}),
    ("[images=3]", 200, {}),
    ("[delay=0.2]", 200, {"model": "gemini-2.5-flash-image"}),
    ("[partial]", 200, {}),
    ("[refuse]", 400, {}),
    ("[times=1 status=429 retry-after=0]", 200, {}),
    ("[no-images]", 502, {}),
    ("[status=500]", 502, {}),
    ("[cost=0.1234567]", 200, {}),
    ("[error-cost]", 400, {}),
    ("[success-500 data-prefix]", 200, {}),
)
"""What is asked: a fault, the status that is to come of it, the rest of the request. Each outcome is known."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request and its answer."""

    prompt: str
    status: int
    answer: httpx.Response


@contextmanager
def on_postgresql(directory: Path, url: str) -> Iterator[Pair]:
    """Run a pair whose gateway keeps its books in PostgreSQL, migrated by its own command first."""
    secret = {"database_url": url, "secret": hashlib.sha256(b"a secret of this test").hexdigest()}
    with launched(directory / "upstream", "--image", "asked") as upstream:
        serving = describe(directory / "gateway", upstream=upstream.url, keys=upstream.keys, **secret)
        try:
            serving.migrate()
            serving.begin()
            upstream.await_ready()
            yield Pair(serving, upstream, serving.tenant("team"))
        finally:
            serving.end()


@pytest.fixture(params=["sqlite", "postgresql"])
def both(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Pair]:
    """Give a pair on each kind of database, with pictures as large as they are asked for."""
    if request.param == "sqlite":
        with pair(tmp_path, "--image", "asked") as two:
            yield two
    else:
        with on_postgresql(tmp_path, request.getfixturevalue("postgres_url")) as two:
            yield two


def test_the_ledger_is_the_bill_and_every_image_is_kept(both: Pair, count: Callable[[int, int], int]) -> None:
    """After a mix of successes and failures ledger, bill and cost counter agree; each link serves what was drawn."""
    number = count(20, 200)

    def ask(numbered: tuple[int, tuple[str, int, dict[str, Any]]]) -> Asked:
        index, (fault, status, members) = numbered
        prompt = f"picture {index} {fault}"
        return Asked(prompt, status, both.gateway.post(both.key, prompt=prompt, **members))

    with ThreadPoolExecutor(AT_ONCE) as pool:
        asked = list(pool.map(ask, enumerate(islice(cycle(MIX), number))))

    for one in asked:
        assert one.answer.status_code == one.status, (one.prompt, one.answer.text)
    bill = {line.prompt_sha256: line for line in both.simulator.bill()}
    served = 0
    for one in asked:
        if one.status == httpx.codes.OK:
            line = bill[hashlib.sha256(one.prompt.encode()).hexdigest()]
            kept = [both.gateway.http.get(image["image"]) for image in one.answer.json()["data"]]
            assert [hashlib.sha256(image.content).hexdigest() for image in kept] == [
                image.sha256 for image in line.images
            ]
            served += len(kept)

    spend = both.gateway.cli("spend", "--format", "json", "--by", "model")
    assert spend.returncode == 0, spend.stderr
    rows = json.loads(spend.stdout)["rows"]
    ledger = sum((Decimal(row["cost_yuan"]) for row in rows), Decimal(0))
    counter = both.gateway.metric("gateway_cost_yuan_total")
    print(
        f"{number} asked, {served} images kept: ledger {ledger}, bill {both.simulator.bill_total()}, counter {counter}"
    )
    assert ledger == both.simulator.bill_total()
    assert counter == pytest.approx(float(ledger), abs=1e-6)
    assert sum(row["images_generated"] for row in rows) == served == sum(len(line.images) for line in bill.values())
    assert sum(row["unknown"] for row in rows) == 0
    assert both.gateway.metric("gateway_in_flight_generations") == 0
