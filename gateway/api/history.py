"""`GET /generations`: the tenant's own history, newest first."""

from dataclasses import dataclass
from datetime import date, timedelta
from functools import partial

import orjson
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from gateway import clock
from gateway.api.query import limit_of, query_of, read_as
from gateway.api.who import Who
from gateway.clock import Calendar, Millis
from gateway.errors import InvalidRequest
from gateway.ledger.history import Chosen
from gateway.ledger.ledger import Ledger
from gateway.ledger.records import STATES, State
from gateway.moments import parse_day, parse_moment, require_order
from gateway.tenants.directory import Caller

ROWS = 100
"""The most generations of one page."""


@dataclass(frozen=True, slots=True)
class HistoryRoute:
    """The list of what `GenerationsRoute` shows one by one."""

    who: Who
    ledger: Ledger
    calendar: Calendar

    def router(self) -> APIRouter:
        """Return the route."""
        router = APIRouter()
        router.add_api_route("/generations", self.history, methods=["GET", "HEAD"], response_model=None)
        return router

    async def history(self, request: Request) -> Response:
        """Answer `{"rows": […], "next": …}`: `?model=`, `?state=`, `?from=&to=` days, `?limit=` 1 to 100.

        `?after=` the `next` of one page gives the following one; `next` is null on the last.
        """
        page, more = await self.ledger.history(self._chosen(await self.who.calls(request), request))
        content = orjson.dumps({"rows": [one.shown() for one in page], "next": page[-1].id if more else None})
        return Response(content, media_type="application/json", headers={"Cache-Control": "private, no-store"})

    def _chosen(self, caller: Caller, request: Request) -> Chosen:
        """Read the query. Raises InvalidRequest."""
        query = query_of(request, "model", "state", "from", "to", "limit", "after")
        first, last = read_as("from", parse_day, query.get("from")), read_as("to", parse_day, query.get("to"))
        if first is not None and last is not None:
            read_as("to", partial(require_order, first), last)
        return Chosen(
            caller.tenant_id,
            since=read_as("from", self._beginning, first),
            until=read_as("to", self._end, last),
            model=query.get("model"),
            state=_state(query.get("state")),
            after=query.get("after"),
            limit=limit_of(query.get("limit"), ROWS),
        )

    def _beginning(self, day: str) -> Millis:
        return parse_moment(day, self.calendar.zone)

    def _end(self, day: str) -> Millis | None:
        """Return when a day is over; None for one that is not over yet."""
        if day >= self.calendar.day(clock.now()):
            return None
        return self._beginning((date.fromisoformat(day) + timedelta(days=1)).isoformat())


def _state(text: str | None) -> State | None:
    if text is None:
        return None
    for state in STATES:
        if text == state:
            return state
    raise InvalidRequest(f"state: must be one of {', '.join(STATES)}")
