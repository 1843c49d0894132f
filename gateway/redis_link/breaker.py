"""When to stop asking Redis, and when to ask again."""

import asyncio
import logging
import random

from prometheus_client import Gauge
from redis.asyncio import RedisCluster

from gateway.redis_link.address import FAULTS, READ_SECONDS, Client

FAILURES = 5
_PROBE_SECONDS = 1.0
_RECONNECT_SECONDS = 3.0

_log = logging.getLogger(__name__)


class Breaker:
    """Opens after five failed trips in a row; closes when a probe in the background is answered as fast as a trip must.

    Finding a new primary (Sentinel) or a new layout (Cluster) may take longer than any request may wait, so the probe
    does it, with time limits of its own.
    """

    def __init__(self, client: Client, up: Gauge) -> None:
        self._client = client
        self._up = up
        self._failures = 0
        self._probe: asyncio.Task[None] | None = None
        self._search: asyncio.Task[None] | None = None

    @property
    def open(self) -> bool:
        """Whether Redis is to be left alone."""
        return self._probe is not None

    async def start(self) -> None:
        """Connect for the first time; when that fails, begin open."""
        if await self._answers():
            self._up.set(1)
        else:
            self._trip()

    async def close(self) -> None:
        """Stop what runs in the background."""
        tasks = [task for task in (self._probe, self._search) if task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def succeeded(self) -> None:
        """Count a trip that came back."""
        self._failures = 0

    def failed(self) -> None:
        """Count a trip that did not, and look in the background for where Redis is now."""
        self._failures += 1
        if self._probe is None and self._failures >= FAILURES:
            self._trip()
        elif self._probe is None and self._search is None:
            self._search = asyncio.get_running_loop().create_task(self._look_again(), name="redis search")

    def _trip(self) -> None:
        self._up.set(0)
        _log.warning("Redis does not answer; going on without it")
        self._probe = asyncio.get_running_loop().create_task(self._wait_for_redis(), name="redis probe")

    async def _wait_for_redis(self) -> None:
        while True:
            await asyncio.sleep(_PROBE_SECONDS * random.uniform(0.5, 1.0))  # noqa: S311 -- spreads the processes' probes
            if await self._answers():
                break
        self._failures = 0
        self._probe = None
        self._up.set(1)
        _log.warning("Redis answers again")

    async def _look_again(self) -> None:
        try:
            await self._answers()
        finally:
            self._search = None

    async def _answers(self) -> bool:
        """Connect with patience, then ask for an answer within the time that a trip has for it."""
        try:
            async with asyncio.timeout(_RECONNECT_SECONDS):
                if isinstance(self._client, RedisCluster):
                    await self._client.initialize()
                    await self._client.nodes_manager.initialize()
                else:
                    # Idle connections may lead to a server that has been demoted or is gone.
                    await self._client.connection_pool.disconnect(inuse_connections=False)
                    await self._client.ping()
            async with asyncio.timeout(READ_SECONDS):
                return await self._serves()
        except FAULTS:
            return False

    async def _serves(self) -> bool:
        if not isinstance(self._client, RedisCluster):
            return bool(await self._client.ping())
        # Each node refuses its commands for as long as it believes that the cluster is down.
        asked = (self._client.cluster_info(target_nodes=node) for node in self._client.get_primaries())
        states: list[dict[str, str]] = await asyncio.gather(*asked)
        return all(state.get("cluster_state") == "ok" for state in states)
