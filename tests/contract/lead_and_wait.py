"""A process that leads a flight and then does nothing more, to be killed: `lead_and_wait.py URL TENANT FINGERPRINT`."""

import asyncio
import sys
import time

from prometheus_client import CollectorRegistry

from gateway.metrics import Metrics
from gateway.redis_link import Patience, RedisLink, parse_address
from gateway.replies import SharedFlights


async def main(url: str, tenant_id: str, fingerprint: str) -> None:
    """Lead, say what came of it, and wait for the end."""
    metrics = Metrics(CollectorRegistry())
    async with (
        RedisLink(parse_address(url), metrics) as link,
        SharedFlights(link, metrics, lease_seconds=1.5, poll_seconds=0.1) as flights,
    ):
        now = time.monotonic()
        turn = await flights.lead_or_follow(
            tenant_id, (fingerprint, "gen_1"), Patience(5), since=now, deadline=now + 30
        )
        print(type(turn).__name__, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
