"""`GET /admin/api/spend`: what was spent and saved, as `gateway spend --format json` says it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from gateway.api.admin.exchange import resource
from gateway.api.report import question_of, report
from gateway.clock import Calendar
from gateway.database.engine import Database
from gateway.ledger.report import GROUPINGS, Reports
from gateway.tenants.administration import find_tenant


@dataclass(frozen=True, slots=True)
class SpendResource:
    """Reports of all tenants, or of one."""

    database: Database
    reports: Reports
    calendar: Calendar

    def routes(self) -> Sequence[BaseRoute]:
        """Return the route."""
        return (resource("/spend", GET=self.spend),)

    async def spend(self, request: Request) -> Response:
        """Answer a report as `gateway.api.report` says; `?tenant=` only a tenant's."""
        question = question_of(request, self.calendar, GROUPINGS, "tenant")
        if tenant := request.query_params.get("tenant"):
            # Not found if it is not there: nobody is to believe that it spent nothing.
            found = await self.database.read(lambda connection: find_tenant(connection, tenant))
            question = replace(question, tenant_id=found.id)
        return await report(request, self.reports, question)
