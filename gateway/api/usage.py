"""`GET /usage`: what the caller's tenant spent and saved."""

from dataclasses import dataclass, replace

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from gateway.api.report import question_of, report
from gateway.api.who import Who
from gateway.clock import Calendar
from gateway.ledger.report import GROUPINGS, Reports

OWN = tuple(grouping for grouping in GROUPINGS if grouping != "tenant")


@dataclass(frozen=True, slots=True)
class UsageRoute:
    """Reports of the caller's own tenant."""

    who: Who
    reports: Reports
    calendar: Calendar

    def router(self) -> APIRouter:
        """Return the route."""
        router = APIRouter()
        router.add_api_route("/usage", self.usage, methods=["GET", "HEAD"], response_model=None)
        return router

    async def usage(self, request: Request) -> Response:
        """Answer a report as `gateway.api.report` says."""
        caller = await self.who.calls(request)
        question = question_of(request, self.calendar, OWN)
        return await report(request, self.reports, replace(question, tenant_id=caller.tenant_id))
