"""At capacity new generations are turned away for a moment, while what costs nothing goes on."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

from gateway.app import Gateway, build
from gateway.flow.supervisor import LONGEST_RETRY, Supervisor
from gateway.settings import load
from tests.servers.gateway import GENERATE, describe
from tests.servers.process import wait_until
from tests.servers.simulator import Simulator, simulator

CAPACITY = 2
REFUSED = 60


@asynccontextmanager
async def small(directory: Path, upstream: Simulator) -> AsyncIterator[tuple[Gateway, httpx.AsyncClient]]:
    """Open a gateway with room for two generations, and a caller who is a tenant of it, in this process."""
    described = describe(directory, upstream=upstream.url, keys=upstream.keys)
    key = await asyncio.to_thread(described.tenant, "team")
    crashed = threading.Event()
    gateway = build(load(described.environment))
    supervisor: Supervisor = gateway.supervisor
    supervisor._capacity = CAPACITY
    transport = httpx.ASGITransport(gateway.edge)
    headers = {"Authorization": f"Bearer {key}"}
    async with (
        gateway.opened(crashed.set),
        httpx.AsyncClient(transport=transport, base_url="http://gateway", headers=headers, timeout=60) as caller,
    ):
        yield gateway, caller
        assert not crashed.is_set()
    described.end()


def body(prompt: str, **members: object) -> dict[str, object]:
    """Write a request."""
    return {"model": "flux-2-pro", "width": 64, "height": 64, "prompt": prompt} | members


def test_at_capacity_only_what_would_be_new_is_refused(tmp_path: Path) -> None:
    """Refusals are 503 to be repeated at spread moments; hits, replays, history, links and health pass."""

    async def story(upstream: Simulator) -> None:
        async with small(tmp_path / "gateway", upstream) as (gateway, caller):
            cached, keyed = body("seen before", seed=1), {"Idempotency-Key": "k-1"}
            first = await caller.post(GENERATE, json=cached)
            known = await caller.post(GENERATE, json=body("known"), headers=keyed)
            assert (first.status_code, known.status_code) == (200, 200)
            slow = [body(f"[delay=3] {number}") for number in range(CAPACITY)]
            running = [asyncio.create_task(caller.post(GENERATE, json=one)) for one in slow]
            await asyncio.to_thread(
                wait_until, lambda: bool(upstream.stats()["open"] == CAPACITY), "the calls to be upstream"
            )

            refused = [await caller.post(GENERATE, json=body(f"one too many {n}")) for n in range(REFUSED)]
            assert {answer.status_code for answer in refused} == {503}
            assert refused[0].json() == {"code": -1, "msg": "Too many generations are running"}
            waits = {int(answer.headers["retry-after"]) for answer in refused}
            assert waits == set(range(1, LONGEST_RETRY + 1))
            leading = await caller.post(GENERATE, json=body("one too many", seed=2))
            assert leading.status_code == 503

            hit = await caller.post(GENERATE, json=cached)
            assert (hit.status_code, hit.headers["cache-status"].split(";")[1]) == (200, " hit")
            replay = await caller.post(GENERATE, json=body("known"), headers=keyed)
            assert (replay.status_code, replay.headers["idempotent-replayed"]) == (200, "true")
            history = await caller.get(f"/generations/{first.headers['x-generation-id']}")
            assert (history.status_code, history.json()["state"]) == (200, "settled")
            link = httpx.URL(hit.json()["data"][0]["image"])
            assert (await caller.get(link.raw_path.decode())).status_code == 200
            for path in ("/livez", "/readyz", "/models"):
                assert (await caller.get(path)).status_code == 200, path

            assert {answer.status_code for answer in await asyncio.gather(*running)} == {200}
            assert (await caller.post(GENERATE, json=body("room again", seed=2))).status_code == 200
            assert upstream.stats()["calls"] == 3 + CAPACITY
            assert await gateway.supervisor.drain(5) == 0

    with simulator(tmp_path / "upstream") as upstream:
        asyncio.run(story(upstream))
