"""`GET /admin/api/spend`: what settled generations cost, as `gateway spend --format json` says it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from gateway import clock
from gateway.api.admin.exchange import answer, query_of, read_as, resource
from gateway.clock import Calendar
from gateway.database.engine import Database
from gateway.errors import InvalidRequest
from gateway.ledger.report import GROUPINGS, Grouping, Spent, month_so_far, spend
from gateway.moments import parse_day, require_order
from gateway.tenants.administration import find_tenant


@dataclass(frozen=True, slots=True)
class SpendResource:
    """Reports, in days of GATEWAY_TIMEZONE."""

    database: Database
    calendar: Calendar

    def routes(self) -> Sequence[BaseRoute]:
        """Return the route."""
        return (resource("/spend", GET=self.spend),)

    async def spend(self, request: Request) -> Response:
        """Answer `{"rows": […]}`: `?from=&to=` days, this month if not given; `?by=` model if not given; `?tenant=`."""
        query = query_of(request, "from", "to", "by", "tenant")
        by = _grouping(query.get("by", "model"))
        month_first, today = month_so_far(self.calendar.day(clock.now()))
        first, last = read_as("from", parse_day, query.get("from")), read_as("to", parse_day, query.get("to"))
        first, last = month_first if first is None else first, today if last is None else last
        read_as("to", partial(require_order, first), last)
        tenant = query.get("tenant")
        rows = await self.database.read(lambda connection: _rows(connection, by, first, last, tenant))
        return answer({"rows": [row.shown() for row in rows]})


def _rows(connection: Connection, by: Grouping, first: str, last: str, tenant: str | None) -> Sequence[Spent]:
    """Add up. Raises NotFound for a tenant that is not there: nobody is to believe that it spent nothing."""
    if tenant is not None:
        find_tenant(connection, tenant)
    return spend(connection, by, first, last, tenant)


def _grouping(text: str) -> Grouping:
    for grouping in GROUPINGS:
        if text == grouping:
            return grouping
    raise InvalidRequest(f"by: must be one of {', '.join(GROUPINGS)}")
