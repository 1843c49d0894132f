"""How late the event loop is: what an operator looks at to tell the gateway's own time from upstream's."""

import asyncio
import time

from gateway.metrics import Metrics

INTERVAL_SECONDS = 0.1


async def watch_loop(metrics: Metrics) -> None:
    """Sample the loop's lateness ten times a second until cancelled."""
    while True:
        due = time.monotonic() + INTERVAL_SECONDS
        await asyncio.sleep(INTERVAL_SECONDS)
        metrics.event_loop_stall_seconds.observe(max(0.0, time.monotonic() - due))
