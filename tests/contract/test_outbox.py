"""The outbox on SQLite and on PostgreSQL: written with what it tells, claimed by one at a time, in turns."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import orjson
import pytest
from sqlalchemy import Connection, select

from gateway.database.engine import Database
from gateway.database.outbox import Event, announce
from gateway.database.tables import webhook_endpoints, webhook_events
from gateway.errors import InvalidRequest
from gateway.guard import Guard
from gateway.ledger.bill import FREE, Bill
from gateway.ledger.processes import give_up
from gateway.ledger.records import Abandonment, Reservation
from gateway.ledger.reserve import reserve
from gateway.ledger.settle import abandon, settle
from gateway.ledger.unknown import decide_one, settle_overdue
from gateway.webhooks.claim import LEASE_MS, Claim, any_due, claim, conclude
from gateway.webhooks.endpoints import OVERLAP_MS, Endpoints
from gateway.webhooks.outbox import (
    DELIVERED_KEPT_MS,
    FAILED_KEPT_MS,
    count_waiting,
    list_events,
    redeliver,
    sweep,
)
from gateway.webhooks.schedule import Again, Delivered, Failed, Tried
from gateway.webhooks.signature import Signer
from tests.books import MOMENT, add_tenant, opened, reservation, settlement

SIGNER = Signer([b"a secret of these tests, and long"])
ENDPOINTS = Endpoints(SIGNER, Guard())
LATER = MOMENT + 1000
URL = "https://hooks.example/one"


def urls(_: Connection, tenant_ids: Collection[str]) -> dict[str, str]:
    """Every tenant has the same URL."""
    return dict.fromkeys(tenant_ids, URL)


def claimed(sql: Connection, moment: int = LATER, *, most: int = 64, each: int = 4, **trying: int) -> list[Claim]:
    """Claim as one process does."""
    return claim(sql, moment, urls, most=most, each=each, trying=trying)


def told(sql: Connection) -> list[tuple[str, Any]]:
    """Return type and data of all events, oldest first."""
    bodies = sql.scalars(select(webhook_events.c.body).order_by(webhook_events.c.id))
    return [(body["type"], body["data"]) for body in map(orjson.loads, bodies)]


def fill(sql: Connection, tenant: str, number: int) -> None:
    """Leave so many events of a tenant."""
    announce(sql, [Event(tenant, "generation.settled", MOMENT, {"number": one}) for one in range(number)])


@asynccontextmanager
async def with_tenants(url: str, number: int = 1) -> AsyncIterator[tuple[Database, list[str]]]:
    """Open a database with so many tenants."""
    async with opened(url) as database:
        yield database, [await database.write(add_tenant) for _ in range(number)]


def announced(tenant: str) -> Reservation:
    """Ask for a generation whose end is told."""
    return replace(reservation(tenant), announced=True)


def test_each_end_is_told_once(database_url: str) -> None:
    """Settled, released, unknown, by whomever; a repeat, and a generation of which nobody wants to hear, is not."""

    async def story() -> None:
        async with with_tenants(database_url) as (database, (tenant,)):
            asked = [announced(tenant) for _ in range(5)]
            silent = [reservation(tenant) for _ in range(2)]

            def end(sql: Connection) -> None:
                reserve(sql, "proc_1", [*asked, *silent])
                for _ in range(2):
                    settle(
                        sql, [settlement(asked[0], 40_000), settlement(asked[1], kind="free"), settlement(silent[0])]
                    )
                    lost = [Abandonment(one.id, tenant, "lost") for one in (asked[2], silent[1])]
                    abandon(sql, lost)
                assert give_up(sql, "proc_2", MOMENT, alone=True) == 2
                assert give_up(sql, "proc_2", MOMENT, alone=True) == 0
                decide_one(sql, asked[3].id, FREE, by="ann")
                settle(sql, [replace(settlement(asked[2]), bill=Bill("exact", 7))])
                settle_overdue(sql, MOMENT + 1, MOMENT + 2)

            await database.write(end)
            found = await database.read(told)
            ends = Counter((kind, data["id"]) for kind, data in found)
            assert ends == Counter(
                {
                    ("generation.settled", asked[0].id): 1,
                    ("generation.released", asked[1].id): 1,
                    ("generation.unknown", asked[2].id): 1,
                    ("generation.settled", asked[2].id): 1,
                    ("generation.unknown", asked[3].id): 1,
                    ("generation.released", asked[3].id): 1,
                    ("generation.unknown", asked[4].id): 1,
                    ("generation.settled", asked[4].id): 1,
                }
            )
            first = next(data for _, data in found if data["id"] == asked[0].id)
            assert first == {
                "id": asked[0].id,
                "state": "settled",
                "model": "flux-2-pro",
                "cost_yuan": "0.040000",
                "location": f"/generations/{asked[0].id}",
            }

    asyncio.run(story())


def test_a_transaction_that_failed_tells_nothing(database_url: str) -> None:
    """There is no event of what was rolled back."""

    async def story() -> None:
        async with with_tenants(database_url) as (database, (tenant,)):
            asked = announced(tenant)
            await database.write(lambda sql: reserve(sql, "proc_1", [asked]))

            def fail(sql: Connection) -> None:
                settle(sql, [settlement(asked)])
                raise ZeroDivisionError

            with pytest.raises(ZeroDivisionError):
                await database.write(fail)
            assert await database.read(told) == []

    asyncio.run(story())


def test_an_event_is_one_processes_at_a_time(database_url: str) -> None:
    """Of two that claim at once each event is one's; a claim that runs out is the other's, and the first is late."""

    async def story() -> None:
        async with with_tenants(database_url) as (database, (tenant,)), opened(database_url) as second:
            await database.write(lambda sql: fill(sql, tenant, 50))
            one, other = await asyncio.gather(
                *(each.write(lambda sql: claimed(sql, each=50)) for each in (database, second))
            )
            ids = Counter(event.id for event in [*one, *other])
            assert (len(ids), set(ids.values())) == (50, {1})
            assert await database.write(lambda sql: claimed(sql, LATER + LEASE_MS - 1)) == []
            assert not await database.read(lambda sql: any_due(sql, LATER + LEASE_MS - 1, {}, each=4))
            event = (one or other)[0]
            again = await second.write(lambda sql: claimed(sql, LATER + LEASE_MS, each=50))
            assert {found.attempts for found in again} == {2}
            done = Tried(204), Delivered()
            assert not await database.write(lambda sql: conclude(sql, event, *done, LATER)), "its claim had run out"
            (mine,) = [found for found in again if found.id == event.id]
            assert mine.body == event.body
            assert await second.write(lambda sql: conclude(sql, mine, *done, LATER))
            assert await database.read(count_waiting) == 49

    asyncio.run(story())


def test_tenants_take_turns(database_url: str) -> None:
    """One with a hundred waiting leaves room for those that came later; nobody has more tries than a few at once."""

    async def story() -> None:
        async with with_tenants(database_url, 3) as (database, tenants):
            for tenant, number in zip(tenants, (100, 2, 1), strict=True):
                await database.write(partial(fill, tenant=tenant, number=number))
            first = await database.write(lambda sql: claimed(sql, most=6))
            assert Counter(event.tenant_id for event in first) == {tenants[0]: 3, tenants[1]: 2, tenants[2]: 1}
            assert await database.write(lambda sql: claimed(sql, **{tenants[0]: 4})) == []
            assert len(await database.write(lambda sql: claimed(sql, **{tenants[0]: 3}))) == 1
            assert len(await database.write(claimed)) == 4

    asyncio.run(story())


def test_what_a_try_came_to_is_written_down(database_url: str) -> None:
    """Delivered, tried again later, given up; an endpoint that wants a pause or is gone, and set again."""

    async def story() -> None:
        async with with_tenants(database_url) as (database, (tenant,)):
            await database.write(lambda sql: fill(sql, tenant, 3))

            def go(sql: Connection) -> None:
                first, second, third = claimed(sql)
                conclude(sql, first, Tried(503, "HTTP 503", 9.0), Again(9, 9), LATER)
                conclude(sql, second, Tried(None, "no answer"), Failed(gone=False), LATER)
                conclude(sql, third, Tried(204), Delivered(), LATER)
                shown = {event.id: event for event in list_events(sql)}
                states = [(shown[event.id].state, shown[event.id].status) for event in (first, second, third)]
                assert states == [("waiting", 503), ("failed", None), ("delivered", 204)]
                fill(sql, tenant, 1)
                assert claimed(sql, LATER + 8_999) == [], "a pause is the endpoint's, not the event's"
                moment = LATER + 9_000
                (again,) = [event for event in claimed(sql, moment) if event.id == first.id]
                assert (again.attempts, again.gone) == (2, False)
                conclude(sql, again, Tried(410, "HTTP 410"), Failed(gone=True), moment)
                assert redeliver(sql, moment, tenant_id=tenant) == 2
                assert {event.gone for event in claimed(sql, moment)} == {True}
                assert ENDPOINTS.follow(sql, tenant, URL, URL) is None
                assert redeliver(sql, moment, event=third.id) == 1
                assert [(event.id, event.gone, event.attempts) for event in claimed(sql, moment)] == [
                    (third.id, False, 1)
                ]

            await database.write(go)

    asyncio.run(story())


def test_a_late_farewell_ends_nothing_for_a_new_address(database_url: str) -> None:
    """410 from an address that the tenant has replaced meanwhile ends nothing for its new one."""

    async def story() -> None:
        async with with_tenants(database_url) as (database, (tenant,)):

            def go(sql: Connection) -> None:
                ENDPOINTS.follow(sql, tenant, None, URL)
                fill(sql, tenant, 2)
                (tried, _) = claimed(sql)
                ENDPOINTS.follow(sql, tenant, URL, f"{URL}/moved")
                conclude(sql, tried, Tried(410, "HTTP 410"), Failed(gone=True), LATER)
                fill(sql, tenant, 1)
                assert {event.gone for event in claimed(sql, LATER)} == {False}

            await database.write(go)

    asyncio.run(story())


def test_a_new_address_has_a_secret_of_its_own(database_url: str) -> None:
    """Without overlap; a rotation has one. A URL that may not be called is refused when it is set."""

    async def story() -> None:
        async with with_tenants(database_url) as (database, (tenant,)):

            def go(sql: Connection) -> None:
                fill(sql, tenant, 3)
                first = ENDPOINTS.follow(sql, tenant, None, URL)
                assert first == SIGNER.secret(tenant, 1)
                assert ENDPOINTS.follow(sql, tenant, URL, None) is None
                second = ENDPOINTS.rotate(sql, tenant, by="ann")
                assert second == SIGNER.secret(tenant, 2) != first
                rotated = sql.scalar(select(webhook_endpoints.c.rotated_at))
                assert rotated is not None
                assert [event.secrets for event in claimed(sql, rotated, each=1)] == [(2, 1)]
                assert [event.secrets for event in claimed(sql, rotated + OVERLAP_MS, each=1)] == [(2,)]
                assert ENDPOINTS.follow(sql, tenant, URL, f"{URL}/moved") == SIGNER.secret(tenant, 3)
                assert [event.secrets for event in claimed(sql, rotated, each=1)] == [(3,)]
                for bad in ("http://hooks.example/", "https://127.0.0.1/", "https://169.254.169.254/latest"):
                    with pytest.raises(InvalidRequest, match="webhook_url"):
                        ENDPOINTS.follow(sql, tenant, None, bad)

            await database.write(go)

    asyncio.run(story())


def test_what_is_over_is_swept(database_url: str) -> None:
    """Delivered events after 3 days, those given up after 30; what waits is never swept."""

    async def story() -> None:
        async with with_tenants(database_url) as (database, (tenant,)):

            def go(sql: Connection) -> None:
                fill(sql, tenant, 3)
                delivered, failed, _ = claimed(sql)
                conclude(sql, delivered, Tried(204), Delivered(), LATER)
                conclude(sql, failed, Tried(500), Failed(gone=False), LATER)
                assert sweep(sql, LATER + DELIVERED_KEPT_MS) == 0
                assert sweep(sql, LATER + DELIVERED_KEPT_MS + 1) == 1
                assert sweep(sql, LATER + FAILED_KEPT_MS + 1) == 1
                assert sweep(sql, LATER + 10 * FAILED_KEPT_MS) == 0
                assert [event.state for event in list_events(sql)] == ["waiting"]

            await database.write(go)

    asyncio.run(story())
