"""`/admin/api/tokens/{id}/revoke` and `/admin/api/tenants/{name}/tokens/revoke`: client tokens, refused for good."""

from collections.abc import Sequence
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from gateway.api.admin.entrance import ACTOR
from gateway.api.admin.exchange import Tell, answer, only, read_nothing, read_object, required, resource, sought
from gateway.database.engine import Database
from gateway.tenants.tokens import revoke_token, revoke_user


@dataclass(frozen=True, slots=True)
class TokensResource:
    """Client tokens are minted by tenants; operators can end them."""

    database: Database
    tell: Tell

    def routes(self) -> Sequence[BaseRoute]:
        """Return the routes."""
        return (
            resource("/tokens/{id}/revoke", POST=self.revoke),
            resource("/tenants/{name}/tokens/revoke", POST=self.revoke_user),
        )

    async def revoke(self, request: Request) -> Response:
        """Refuse one token; answer `{"id": …, "tenant": …}`."""
        await read_nothing(request)
        token_id = request.path_params["id"]
        tenant = await self.database.write(lambda connection: revoke_token(connection, token_id, by=ACTOR))
        await self.tell(tenant)
        return answer({"id": token_id, "tenant": tenant})

    async def revoke_user(self, request: Request) -> Response:
        """Refuse every token that a tenant minted for the end user `{"user": …}`; answer `{"revoked": N}`."""
        members = await read_object(request)
        only(members, "user")
        user, name = required(members, "user", sought), request.path_params["name"]
        revoked = await self.database.write(lambda connection: revoke_user(connection, name, user, by=ACTOR))
        await self.tell(name)
        return answer({"revoked": revoked})
