"""`/admin/api/tenants`: who may use the gateway, and within which limits."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from gateway.api.admin.exchange import Tell, answer, read_nothing, read_object, required, resource
from gateway.api.query import query_of
from gateway.database.engine import Database
from gateway.errors import InvalidRequest
from gateway.tenants.administration import Administration, Tenant, find_tenant, list_tenants
from gateway.webhooks.endpoints import Endpoints


@dataclass(frozen=True, slots=True)
class TenantsResource:
    """Tenants and their policies. A change takes effect within 5 s in every process, with Redis within 1 s."""

    database: Database
    administration: Callable[[], Administration]
    endpoints: Endpoints
    tell: Tell

    def routes(self) -> Sequence[BaseRoute]:
        """Return the routes."""
        return (
            resource("/tenants", GET=self.list, POST=self.create),
            resource("/tenants/{name}", GET=self.show, PATCH=self.update),
            resource("/tenants/{name}/disable", POST=self.disable),
            resource("/tenants/{name}/enable", POST=self.enable),
        )

    async def list(self, request: Request) -> Response:
        """Answer `{"tenants": […]}`, by name."""
        query_of(request)
        tenants = await self.database.read(list_tenants)
        return answer({"tenants": [tenant.shown() for tenant in tenants]})

    async def create(self, request: Request) -> Response:
        """Make a tenant of `{"name": …, policy options}`; 201. A webhook's secret is answered here alone."""
        options = await read_object(request)
        name = required(options, "name")
        del options["name"]
        admin = self.administration()

        def create(connection: Connection) -> dict[str, Any]:
            tenant = admin.create_tenant(connection, name, options)
            return self._with_secret(connection, tenant, None)

        return answer(await self.database.write(create), 201)

    async def show(self, request: Request) -> Response:
        """Answer a tenant and its policy."""
        query_of(request)
        name = request.path_params["name"]
        tenant = await self.database.read(lambda connection: find_tenant(connection, name))
        return answer(tenant.shown())

    async def update(self, request: Request) -> Response:
        """Change the policy options that are given; null takes a limit away. A new webhook's secret is answered too."""
        options = await read_object(request)
        if not options:
            raise InvalidRequest("give at least one option to change")
        name, admin = request.path_params["name"], self.administration()

        def update(connection: Connection) -> dict[str, Any]:
            before = find_tenant(connection, name, to_change=True)
            after = admin.update_tenant(connection, name, options)
            return self._with_secret(connection, after, before) if "webhook_url" in options else after.shown()

        shown = await self.database.write(update)
        await self.tell(name)
        return answer(shown)

    async def disable(self, request: Request) -> Response:
        """Refuse all of a tenant's keys."""
        return await self._switch(request, disabled=True)

    async def enable(self, request: Request) -> Response:
        """Take a tenant's keys again."""
        return await self._switch(request, disabled=False)

    def _with_secret(self, connection: Connection, after: Tenant, before: Tenant | None) -> dict[str, Any]:
        former = None if before is None else before.policy.webhook_url
        secret = self.endpoints.follow(connection, after.id, former, after.policy.webhook_url)
        return after.shown() if secret is None else after.shown() | {"webhook_secret": secret}

    async def _switch(self, request: Request, *, disabled: bool) -> Response:
        await read_nothing(request)
        name, admin = request.path_params["name"], self.administration()
        tenant = await self.database.write(lambda connection: admin.disable_tenant(connection, name, disabled=disabled))
        await self.tell(name)
        return answer(tenant.shown())
