"""Delivery on SQLite and on PostgreSQL: two processes that share an outbox, and an outbox that is away."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

from prometheus_client import CollectorRegistry
from sqlalchemy import Connection

from gateway import clock
from gateway.database.engine import Database
from gateway.database.outbox import Event, announce
from gateway.errors import LedgerUnavailable
from gateway.guard import Guard
from gateway.metrics import Metrics
from gateway.tenants.administration import Administration, webhook_urls
from gateway.tenants.keys import Pepper
from gateway.webhooks.delivery import Deliverer
from gateway.webhooks.outbox import count_waiting, list_events
from gateway.webhooks.post import Poster
from gateway.webhooks.signature import Signer
from tests.books import opened
from tests.servers.receiver import Receiver, receiver

ADMIN = Administration("ann", Pepper([b"pepper" * 6]), frozenset())
SIGNER = Signer([b"a secret of these tests, and long"])


@dataclass(frozen=True, slots=True)
class Process:
    """A deliverer, and what it counts."""

    deliverer: Deliverer
    metrics: Metrics

    def counted(self, result: str) -> float:
        """Return how many tries came to this."""
        labels = {"result": result}
        return self.metrics.registry.get_sample_value("gateway_webhook_deliveries_total", labels) or 0


@asynccontextmanager
async def delivering(database: Database) -> AsyncIterator[Process]:
    """Deliver until the block ends."""
    poster, metrics = Poster(Guard(["127.0.0.1"]), SIGNER), Metrics(CollectorRegistry())
    one = Process(Deliverer(database, poster, webhook_urls, metrics), metrics)
    task = asyncio.create_task(one.deliverer.run())
    try:
        yield one
    finally:
        task.cancel()
        await asyncio.wait([task])
        await poster.close()
    assert task.cancelled()


async def until(condition: Callable[[], bool]) -> None:
    """Wait for it."""
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 -- what it asks has no event
            await asyncio.sleep(0.02)


def leave(connection: Connection, name: str, url: str | None, number: int) -> None:
    """Leave so many events of a new tenant."""
    tenant = ADMIN.create_tenant(connection, name, {"webhook_url": url})
    announce(connection, [Event(tenant.id, "generation.settled", clock.now(), {"n": one}) for one in range(number)])


def test_two_processes_deliver_each_event_once(database_url: str, count: Callable[[int, int], int]) -> None:
    """Of many events of three tenants, each comes once though two processes deliver."""
    number = count(60, 2001)

    async def story(endpoint: Receiver) -> None:
        async with opened(database_url) as database, opened(database_url) as second:
            for name in ("one", "two", "three"):
                await database.write(partial(leave, name=name, url=f"{endpoint.url}/{name}", number=number // 3))
            begun = time.monotonic()
            async with delivering(database) as one, delivering(second) as other:
                while await database.read(count_waiting):  # noqa: ASYNC110 -- as above
                    await asyncio.sleep(0.02)
            took = time.monotonic() - begun
            each = one.counted("delivered"), other.counted("delivered")
            print(f"{number} events by two processes: {each} delivered, {number / took:.0f} a second")
            assert sum(each) == number

    with receiver() as endpoint:
        asyncio.run(story(endpoint))
        assert set(Counter(one.id for one in endpoint.received).values()) == {1}
        assert len(endpoint.received) == number


def test_without_an_endpoint_an_event_is_given_up(database_url: str) -> None:
    """A tenant that has no URL any more, or is disabled, is sent nothing; its events are there to be looked at."""

    async def story() -> None:
        async with opened(database_url) as database:
            await database.write(lambda sql: leave(sql, "none", None, 1))
            await database.write(lambda sql: leave(sql, "off", "http://127.0.0.1:1/", 1))
            await database.write(lambda sql: ADMIN.disable_tenant(sql, "off", disabled=True))
            async with delivering(database) as one:
                await until(lambda: one.counted("failed") == 2)
            events = await database.read(list_events)
            assert [event.state for event in events] == ["failed", "failed"]

    asyncio.run(story())


def test_an_outage_of_sql_is_waited_out(database_url: str) -> None:
    """While SQL is away nothing ends; what was tried and not written down is tried again under the same id."""

    class Flickering:
        """A database that goes away."""

        dialect = "any"

        def __init__(self, behind: Database) -> None:
            self.read, self._write, self.close = behind.read, behind.write, behind.close
            self.away = 0

        async def write(self, work: Callable[[Connection], object]) -> object:
            if work.__code__.co_names[:1] == ("conclude",) and self.away < 1:
                self.away += 1
                raise LedgerUnavailable(detail="cut off")
            return await self._write(work)

    async def story(endpoint: Receiver) -> None:
        async with opened(database_url) as database:
            await database.write(lambda sql: leave(sql, "one", f"{endpoint.url}/", 1))
            flickering = Flickering(database)
            async with delivering(flickering):  # type: ignore[arg-type]  # it has what is asked of it
                await until(lambda: flickering.away == 1)
                assert await database.read(count_waiting) == 1, "as far as the outbox knows"

    with receiver() as endpoint:
        asyncio.run(story(endpoint))
        assert len(endpoint.received) == 1
