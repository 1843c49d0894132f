"""`/admin/api/tenants`: who may use the gateway, and within which limits."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from gateway.api.admin.exchange import answer, read_nothing, read_object, required, resource
from gateway.api.query import query_of
from gateway.database.engine import Database
from gateway.errors import InvalidRequest
from gateway.tenants.administration import Administration, find_tenant, list_tenants


@dataclass(frozen=True, slots=True)
class TenantsResource:
    """Tenants and their policies. A change takes effect within 5 s in every process."""

    database: Database
    administration: Callable[[], Administration]

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
        """Make a tenant of `{"name": …, policy options}`; 201."""
        options = await read_object(request)
        name = required(options, "name")
        del options["name"]
        admin = self.administration()
        tenant = await self.database.write(lambda connection: admin.create_tenant(connection, name, options))
        return answer(tenant.shown(), 201)

    async def show(self, request: Request) -> Response:
        """Answer a tenant and its policy."""
        query_of(request)
        name = request.path_params["name"]
        tenant = await self.database.read(lambda connection: find_tenant(connection, name))
        return answer(tenant.shown())

    async def update(self, request: Request) -> Response:
        """Change the policy options that are given; null takes a limit away."""
        options = await read_object(request)
        if not options:
            raise InvalidRequest("give at least one option to change")
        name, admin = request.path_params["name"], self.administration()
        tenant = await self.database.write(lambda connection: admin.update_tenant(connection, name, options))
        return answer(tenant.shown())

    async def disable(self, request: Request) -> Response:
        """Refuse all of a tenant's keys."""
        return await self._switch(request, disabled=True)

    async def enable(self, request: Request) -> Response:
        """Take a tenant's keys again."""
        return await self._switch(request, disabled=False)

    async def _switch(self, request: Request, *, disabled: bool) -> Response:
        await read_nothing(request)
        name, admin = request.path_params["name"], self.administration()
        tenant = await self.database.write(lambda connection: admin.disable_tenant(connection, name, disabled=disabled))
        return answer(tenant.shown())
