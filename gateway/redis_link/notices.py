"""Change notices: publish and subscribe. A notice may be lost, so it only hastens what would be noticed anyway."""

import asyncio
import logging
import random
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from redis.asyncio.client import PubSub

from gateway.redis_link.address import FAULTS, Client

_QUIET_SECONDS = 5.0
_RETRY_SECONDS = 1.0

_log = logging.getLogger(__name__)


async def listen(client: Client, channel: str) -> AsyncGenerator[bytes | None, None]:
    """Yield what is published on a channel, on a connection of its own, renewed for as long as the generator is open.

    Yields None whenever a subscription begins: what was published before, or while Redis was away, may have been
    missed, so whatever is known from notices must be looked up anew. Close it with `contextlib.aclosing`.
    """
    while True:
        try:
            async with aclosing(client.pubsub()) as pubsub:
                await pubsub.subscribe(channel)
                async for payload in _payloads(pubsub):
                    yield payload
        except FAULTS as error:  # closing may fail too
            _log.debug("Lost the subscription to %s: %s", channel, type(error).__name__)
        await asyncio.sleep(_RETRY_SECONDS * random.uniform(0.5, 1.0))  # noqa: S311 -- spreads the processes


async def _payloads(pubsub: PubSub) -> AsyncGenerator[bytes | None, None]:
    """Read one subscription until it ends. Silence is tested with a PING: a lost peer would be silent for ever."""
    asked = False
    while True:
        message: dict[str, Any] | None = await pubsub.get_message(timeout=_QUIET_SECONDS)
        if message is None and asked:
            raise ConnectionError("no answer to a PING")
        if message is None:
            await pubsub.ping()
            asked = True
            continue
        asked = False
        match message["type"]:
            case "subscribe":
                yield None
            case "message":
                yield bytes(message["data"])
