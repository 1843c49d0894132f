"""What the ledger says of the days of a statement, on SQLite and on PostgreSQL."""

import asyncio
from zoneinfo import ZoneInfo

from gateway.ledger.compare import Booked, booked_on
from gateway.ledger.records import Abandonment, Repeat
from gateway.ledger.reserve import remember, reserve
from gateway.ledger.settle import abandon, settle
from tests.books import DAY, MOMENT, add_tenant, opened, reservation, settlement

HOUR = 3_600_000
BEFORE = "2026-11-21"


def test_a_day_is_one_of_the_statements_zone(database_url: str) -> None:
    """What was reserved an hour before midnight in UTC is on the next day in Shanghai; what is free is not counted."""

    async def story() -> None:
        async with opened(database_url) as database:
            tenant = await database.write(add_tenant)
            late = reservation(tenant, 50_000, created_at=MOMENT - HOUR)
            early = reservation(tenant, created_at=MOMENT)
            lost = reservation(tenant, 70_000, created_at=MOMENT)
            free = reservation(tenant, created_at=MOMENT)
            running = reservation(tenant, created_at=MOMENT)
            repeat = Repeat(reservation(tenant, idempotency_key="k"))
            await database.write(lambda sql: reserve(sql, "proc_1", [late, early, lost, free, running]))
            ended = [settlement(late, 40_000), settlement(early, 1), settlement(free, kind="free")]
            await database.write(lambda sql: settle(sql, ended))
            await database.write(lambda sql: abandon(sql, [Abandonment(lost.id, tenant, "lost")]))
            await database.write(lambda sql: remember(sql, "proc_1", [repeat]))

            async def booked(zone: str) -> dict[tuple[str, str], Booked]:
                chosen = ZoneInfo(zone) if zone else None
                return dict(await database.read(lambda sql: booked_on(sql, [BEFORE, DAY], chosen)))

            model = late.model
            assert await booked("UTC") == {(BEFORE, model): Booked(1, 40_000), (DAY, model): Booked(1, 1, 1, 70_000)}
            assert await booked("Asia/Shanghai") == await booked("") == {(DAY, model): Booked(2, 40_001, 1, 70_000)}

    asyncio.run(story())
