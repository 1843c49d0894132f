"""`GET /admin/api/audit`: who changed what, when, from what to what."""

from collections.abc import Sequence
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from gateway.api.admin.exchange import answer, resource
from gateway.api.query import limit_of, query_of
from gateway.database.audit import LISTED, list_entries
from gateway.database.engine import Database


@dataclass(frozen=True, slots=True)
class AuditResource:
    """The audit trail. It is written with each change and cannot be changed from here."""

    database: Database

    def routes(self) -> Sequence[BaseRoute]:
        """Return the route."""
        return (resource("/audit", GET=self.list),)

    async def list(self, request: Request) -> Response:
        """Answer `{"rows": […], "next": …}`, newest first: `?subject=` a tenant's name or an id, `?limit=` 1 to 100.

        `?after=` the `next` of one page gives the following one; `next` is null on the last.
        """
        query = query_of(request, "subject", "limit", "after")
        subject, after, limit = query.get("subject"), query.get("after"), limit_of(query.get("limit"), LISTED)
        entries = await self.database.read(
            lambda connection: list_entries(connection, subject=subject, older_than=after, limit=limit + 1)
        )
        page = entries[:limit]
        following = page[-1].id if len(entries) > limit else None
        return answer({"rows": [entry.shown() for entry in page], "next": following})
