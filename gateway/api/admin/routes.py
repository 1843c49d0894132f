"""The admin API put together, behind its entrance."""

from dataclasses import dataclass

from fastapi import APIRouter
from pydantic import SecretStr
from starlette.routing import Mount, Router

from gateway.api.admin.audit import AuditResource
from gateway.api.admin.entrance import ACTOR, Entrance
from gateway.api.admin.keys import KeysResource
from gateway.api.admin.spend import SpendResource
from gateway.api.admin.tenants import TenantsResource
from gateway.api.admin.tokens import TokensResource
from gateway.api.admin.unknown import UnknownResource
from gateway.catalog import CatalogFile
from gateway.clock import Calendar
from gateway.database.engine import Database
from gateway.ledger.report import Reports
from gateway.tenants.administration import Administration
from gateway.tenants.keys import Pepper
from gateway.tenants.notices import Notices
from gateway.webhooks.endpoints import Endpoints

PREFIX = "/admin/api"


@dataclass(frozen=True, slots=True)
class AdminRoute:
    """Everything below PREFIX; with no token, nothing."""

    token: SecretStr | None
    database: Database
    pepper: Pepper
    catalog: CatalogFile
    calendar: Calendar
    reports: Reports
    endpoints: Endpoints
    notices: Notices

    def router(self) -> APIRouter:
        """Return the routes. The token is asked for before it is known whether a path exists."""
        resources = (
            TenantsResource(self.database, self._administration, self.endpoints, self.notices.tell),
            KeysResource(self.database, self._administration, self.calendar, self.notices.tell),
            TokensResource(self.database, self.notices.tell),
            UnknownResource(self.database, self.calendar),
            SpendResource(self.database, self.reports, self.calendar),
            AuditResource(self.database),
        )
        inside = Router([route for one in resources for route in one.routes()], redirect_slashes=False)
        token = None if self.token is None else self.token.get_secret_value()
        return APIRouter(routes=[Mount(PREFIX, Entrance(token, inside))])

    def _administration(self) -> Administration:
        known = frozenset(model.name for model in self.catalog.current.models)
        return Administration(ACTOR, self.pepper, known)
