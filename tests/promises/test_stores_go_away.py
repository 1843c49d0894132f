"""No paid image is lost with the object store: what it does not take waits on disk, and is stored once it is back."""

import asyncio
import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import aiohttp
import orjson
import pytest

from gateway.data_dir import IMAGES, SPOOL
from tests.crowd import Answer, Asking, at_once
from tests.kept import whole
from tests.servers.gateway import describe
from tests.servers.pair import Pair, pair
from tests.servers.process import wait_until
from tests.servers.redis import Server
from tests.servers.seaweedfs import S3Server, seaweedfs
from tests.servers.simulator import launched
from tests.servers.workers import SECRET, callers, until

MODELS = ("flux-2-pro", "gemini-2.5-flash-image")
"""One whose images come as links, one whose images come as Base64."""

STORED_SECONDS = 120
"""Within which everything is to be stored once the store is back."""


@pytest.fixture
def s3(tmp_path: Path) -> Iterator[S3Server]:
    """Run an object store that may be stopped."""
    with seaweedfs(tmp_path) as server:
        yield server


@contextmanager
def on_s3(directory: Path, s3: S3Server, **settings: str) -> Iterator[Pair]:
    """Run a gateway that keeps its images in the store; credentials are the cloud's own variables."""
    with launched(directory / "upstream") as upstream:
        bucket = f"s3://{s3.bucket}/kept"
        named = {"storage_url": bucket, **settings}
        serving = describe(directory / "gateway", upstream=upstream.url, keys=upstream.keys, **named)
        serving.environment |= s3.environ
        try:
            serving.begin()
            wait_until(lambda: '"event":"serving"' in serving.log, "all workers to serve")
            upstream.await_ready()
            yield Pair(serving, upstream, serving.tenant("team"))
        finally:
            serving.end()


def kept_rows(both: Pair) -> dict[str, str]:
    """Return the images that the ledger says are kept, with their digests."""
    return {row["name"]: row["sha256"] for row in both.gateway.rows("SELECT name, sha256 FROM images")}


def drawn(both: Pair) -> list[str]:
    """Return the digests of what upstream billed."""
    return sorted(image.sha256 for line in both.simulator.bill() for image in line.images)


def ask(both: Pair, number: int, begin: int) -> list[Answer]:
    """Ask for so many images, ten at a time, in turns of each kind."""
    answers: list[Answer] = []
    for start in range(begin, begin + number, 10):
        numbers = range(start, min(start + 10, begin + number))
        answers += at_once(
            both.gateway,
            [Asking(both.key, {"prompt": f"{one}"} | kind(one), {"Idempotency-Key": f"{one}"}) for one in numbers],
        )
    return answers


def kind(number: int) -> dict[str, object]:
    model = MODELS[number % 2]
    return {"model": model} if model == "flux-2-pro" else {"model": model, "width": None, "height": None}


@pytest.mark.parametrize(
    ("workers", "killed"),
    [
        pytest.param(1, True, id="killed"),
        pytest.param(1, False, id="alive", marks=pytest.mark.full),
        pytest.param(2, False, id="two workers", marks=pytest.mark.full),
    ],
)
def test_an_outage_of_the_store_loses_no_image(
    tmp_path: Path, s3: S3Server, redis: Server, count: Callable[[int, int], int], workers: int, *, killed: bool
) -> None:
    """The store is stopped during paid calls, and the gateway perhaps killed before it is back: every image is kept."""
    shared = {} if workers == 1 else {"workers": str(workers), "redis_url": redis.url, "secret": SECRET}
    number, seconds = count(24, 200), count(3, 60)
    some = number // 4
    with on_s3(tmp_path / "pair", s3, **shared) as both:
        before = ask(both, some, 0)
        assert not any("x-image-kept" in answer.headers for answer in before)
        s3.kill()
        stopped = time.monotonic()
        during = ask(both, number - 2 * some, some)
        assert {answer.headers["x-image-kept"] for answer in during} == {"pending"}
        digests = set(drawn(both))
        for answer in during:
            content = both.gateway.http.get(answer.link).content
            assert hashlib.sha256(content).hexdigest() in digests, "the caller got the image"
        wait_until(lambda: both.gateway.http.get("/readyz").json()["degraded"] == ["images"], "readiness to say so")
        wait_until(lambda: time.monotonic() - stopped >= seconds, "the outage to be over", seconds + 5)
        if killed:
            both.gateway.kill()
        s3.start()
        back = time.monotonic()
        if killed:
            both.gateway.begin()
        after = ask(both, some, number - some)
        assert {answer.status for answer in before + during + after} == {200}
        assert sorted(kept_rows(both).values()) == drawn(both)
        spool = both.gateway.data_dir / SPOOL
        wait_until(
            lambda: not any(path.is_file() for path in spool.rglob("*")), "the spool to be empty", STORED_SECONDS
        )
        took = time.monotonic() - back
        good = whole(f"s3://{s3.bucket}/kept", s3.environ, kept_rows(both))
        how = f"{workers} worker(s){', killed -9' if killed else ''}"
        print(
            f"store stopped for {seconds} s during {number} paid calls, {how}: "
            f"{good} images stored and byte-equal {took:.1f} s after its return, {number - good} lost, "
            f"ledger {both.settled()} = bill {both.simulator.bill_total()} yuan"
        )
        assert good == number == len(both.simulator.bill())
        assert both.settled() == both.simulator.bill_total()
        assert both.gateway.held() == 0
        wait_until(lambda: both.gateway.metric("gateway_spool_images") == 0, "the gauge to say so")
        # A worker learns by its next look that another one has stored what it spooled.
        wait_until(lambda: "x-image-kept" not in ask(both, 1, some)[0].headers, "every worker to know")


async def ask_until_killed(both: Pair, after: float) -> None:
    """Ask for images over eight connections, with the gateway killed after a while."""

    async with callers(both.gateway, 8) as crowd:

        async def keep_asking(place: int) -> None:
            try:
                while True:
                    await crowd[place].ask(both.key, width=64, height=64)
            except (aiohttp.ClientError, orjson.JSONDecodeError):
                return

        asking = [asyncio.create_task(keep_asking(place)) for place in range(len(crowd))]
        await until(time.monotonic() + after)
        both.gateway.kill()
        await asyncio.gather(*asking)


def test_what_the_ledger_says_is_kept_is_there(tmp_path: Path, count: Callable[[int, int], int]) -> None:
    """However often the gateway is killed while it keeps images on local disk, each image of the ledger is whole."""
    kills, moments = count(2, 50), Random(5)  # noqa: S311 -- a test's choice
    with pair(tmp_path) as both:
        for _ in range(kills):
            asyncio.run(ask_until_killed(both, moments.uniform(0.2, 0.8)))
            both.gateway.begin()
        assert both.gateway.stop() == 0
        files = {path.name: path for path in (both.gateway.data_dir / IMAGES).rglob("*") if path.is_file()}
        rows = kept_rows(both)
        digests = {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()}
        unfinished = [name for name in files if name.endswith(".part")]
        print(
            f"{kills} kills: {len(rows)} images in the ledger, all whole in the store; "
            f"{len(files) - len(rows)} more files, {len(unfinished)} of them unfinished"
        )
        assert rows
        assert {name: digests.get(name) for name in rows} == rows
        assert {digest for name, digest in digests.items() if name not in unfinished} <= set(drawn(both))
