"""`/admin/api/unknown`: generations whose outcome is unknown, and what is done about them."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from gateway.api.admin.entrance import ACTOR
from gateway.api.admin.exchange import (
    answer,
    only,
    read_nothing,
    read_object,
    required,
    resource,
    sought,
    text_of,
)
from gateway.api.query import query_of, read_as
from gateway.clock import Calendar, Millis
from gateway.database.engine import Database
from gateway.ledger.bill import FREE, Bill
from gateway.ledger.unknown import Unknown, decide_all, decide_one, list_unknown
from gateway.moments import parse_moment
from gateway.money import format_yuan, parse_yuan
from gateway.tenants.administration import find_tenant


@dataclass(frozen=True, slots=True)
class UnknownResource:
    """Unknown generations. Their holds count against the budget until they are settled or voided."""

    database: Database
    calendar: Calendar

    def routes(self) -> Sequence[BaseRoute]:
        """Return the routes."""
        return (
            resource("/unknown", GET=self.list),
            resource("/unknown/settle-quoted", POST=self.settle_quoted),
            resource("/unknown/void", POST=self.void_all),
            resource("/unknown/{id}/settle", POST=self.settle),
            resource("/unknown/{id}/void", POST=self.void),
        )

    async def list(self, request: Request) -> Response:
        """Answer `{"rows": […]}`, the oldest 500: `?tenant=` a tenant's, `?before=` those begun before."""
        query = query_of(request, "tenant", "before")
        tenant, before = query.get("tenant"), self._moment(query.get("before"))

        def find(connection: Connection) -> Sequence[Unknown]:
            _require(connection, tenant)
            return list_unknown(connection, tenant=tenant, before=before)

        unknown = await self.database.read(find)
        return answer({"rows": [one.shown() for one in unknown]})

    async def settle(self, request: Request) -> Response:
        """Settle one at what upstream billed: `{"cost_yuan": "0.04"}`."""
        members = await read_object(request)
        only(members, "cost_yuan")
        cost = read_as("cost_yuan", parse_yuan, required(members, "cost_yuan"))
        return await self._decide_one(request, Bill("exact", cost))

    async def void(self, request: Request) -> Response:
        """Release one that upstream did not bill."""
        await read_nothing(request)
        return await self._decide_one(request, FREE)

    async def settle_quoted(self, request: Request) -> Response:
        """Settle at their quotes all that `{"tenant": …, "before": …}`, one or both, choose; answer `{"done": N}`."""
        return await self._decide_all(request, None)

    async def void_all(self, request: Request) -> Response:
        """Release all that `{"tenant": …, "before": …}`, one or both, choose; answer `{"done": N}`."""
        return await self._decide_all(request, FREE)

    async def _decide_one(self, request: Request, bill: Bill) -> Response:
        generation = request.path_params["id"]
        done = await self.database.write(lambda connection: decide_one(connection, generation, bill, by=ACTOR))
        state = "released" if done.bill == FREE else "settled"
        return answer({"id": done.id, "state": state, "cost_yuan": format_yuan(done.bill.cost)})

    async def _decide_all(self, request: Request, bill: Bill | None) -> Response:
        members = await read_object(request)
        only(members, "tenant", "before")
        tenant, before = sought(members, "tenant"), self._moment(text_of(members, "before"))
        await self.database.read(lambda connection: _require(connection, tenant))
        done = await decide_all(self.database, bill, tenant=tenant, before=before, by=ACTOR)
        return answer({"done": done})

    def _moment(self, text: str | None) -> Millis | None:
        return read_as("before", lambda written: parse_moment(written, self.calendar.zone), text)


def _require(connection: Connection, tenant: str | None) -> None:
    """Raise NotFound for a tenant that is not there: a misspelt one must not look like one without unknowns."""
    if tenant is not None:
        find_tenant(connection, tenant)
