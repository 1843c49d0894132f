"""`/tokens`: client tokens, by which a browser calls the gateway without ever holding a key."""

from dataclasses import dataclass

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from gateway.api.admin.exchange import answer, read_object
from gateway.api.query import query_of
from gateway.api.who import Who
from gateway.catalog import CatalogFile
from gateway.database.engine import Database
from gateway.errors import InvalidRequest, RateLimited
from gateway.ids import new_id
from gateway.limits import Limiter, Rate, Scope, ratelimit_headers
from gateway.redis_link import Patience
from gateway.tenants.directory import Caller
from gateway.tenants.keys import Pepper
from gateway.tenants.notices import Notices
from gateway.tenants.policy import InvalidPolicy
from gateway.tenants.token_policy import read_token_ask
from gateway.tenants.tokens import add_token, new_token, revoke_token, revoke_user

MINTED_A_MINUTE = 6000
"""The most tokens a key may mint in a minute: each is a row, for as long as it lives and an hour."""


@dataclass(frozen=True, slots=True)
class TokensRoute:
    """Minting and revoking, with a server key alone."""

    who: Who
    catalog: CatalogFile
    database: Database
    pepper: Pepper
    limiter: Limiter
    notices: Notices

    def router(self) -> APIRouter:
        """Return the routes."""
        router = APIRouter()
        router.add_api_route("/tokens", self.mint, methods=["POST"], response_model=None)
        router.add_api_route("/tokens", self.revoke_user, methods=["DELETE"], response_model=None)
        router.add_api_route("/tokens/{token_id}", self.revoke, methods=["DELETE"], response_model=None)
        return router

    async def mint(self, request: Request) -> Response:
        """Make a client token; 201 with the token, which is not shown again. What is left out is the key's."""
        caller = await self.who.calls(request)
        headers = await self._count(caller)
        members = await read_object(request)
        known = frozenset(model.name for model in self.catalog.current.models)
        try:
            ask = read_token_ask(members, caller.policy, caller.key_policy, known)
        except InvalidPolicy as error:
            raise InvalidRequest(str(error)) from error
        token = new_token(caller, ask)
        text = await self.database.write(lambda connection: add_token(connection, token, self.pepper))
        made = answer({"token": text, **token.shown()}, 201)
        made.headers.update(headers)
        return made

    async def revoke(self, request: Request, token_id: str) -> Response:
        """Refuse a token of the caller's tenant for good."""
        caller = await self.who.calls(request)
        query_of(request)
        await self.database.write(
            lambda connection: revoke_token(connection, token_id, by=caller.key_id, tenant=caller.tenant)
        )
        await self.notices.tell(caller.tenant)
        return Response(status_code=204)

    async def revoke_user(self, request: Request) -> Response:
        """Refuse every token of an end user, `?user=`; say how many there were."""
        caller = await self.who.calls(request)
        user = query_of(request, "user").get("user")
        if user is None:
            raise InvalidRequest("user: is required")
        revoked = await self.database.write(
            lambda connection: revoke_user(connection, caller.tenant, user, by=caller.key_id)
        )
        await self.notices.tell(caller.tenant)
        return answer({"revoked": revoked})

    async def _count(self, caller: Caller) -> dict[str, str]:
        """Count a minting; return what is left. Raises RateLimited."""
        scope = Scope(f"{caller.key_id}.tokens", caller.tenant, requests=Rate(MINTED_A_MINUTE), kind="key")
        verdict = await self.limiter.take((scope,), new_id("req"), Patience())
        headers = ratelimit_headers((verdict,))
        if not verdict.allowed:
            raise RateLimited("Too many client tokens", retry_after=verdict.retry_after, headers=headers)
        return headers
