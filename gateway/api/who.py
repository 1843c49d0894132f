"""Who is calling: the key or client token in the Authorization header, and a brake on those who guess one."""

from dataclasses import dataclass

from starlette.requests import Request

from gateway.api.edge import Seen
from gateway.contract import bearer
from gateway.contract.violation import echo
from gateway.errors import Forbidden, RateLimited, Unauthorized
from gateway.limits import AddressLimiter
from gateway.tenants.directory import Caller, Directory


@dataclass(frozen=True, slots=True)
class Who:
    """Tells the caller of a request, before a byte of its body is read."""

    directory: Directory
    failures: AddressLimiter

    async def calls(self, request: Request, *, tokens: bool = False) -> Caller:
        """Return the caller: with a server key, or if the route takes `tokens`, with a client token too.

        Raises Forbidden for a client token elsewhere and for a page of an origin that is none of the caller's;
        Unauthorized, or RateLimited for an address that failed too often of late: a good key is never refused for it,
        and no tenant pays for it.
        """
        caller = await self._known(request)
        _say(request, caller)
        if caller.token is not None and not tokens:
            raise Forbidden("Not allowed with a client token")
        page = request.scope["state"].get("page")
        if page is not None and page not in (caller.policy.origins or ()):
            raise Forbidden(f"Origin {echo(page)} is not allowed for this API key")
        return caller

    async def _known(self, request: Request) -> Caller:
        try:
            return await self.directory.caller(bearer(request.headers.getlist("authorization")))
        except Unauthorized:
            address = "" if request.client is None else request.client.host
            wait = self.failures.blocked(address)
            if wait is not None:
                raise RateLimited("Too many failed authentications", retry_after=wait) from None
            self.failures.failed(address)
            raise


def _say(request: Request, caller: Caller) -> None:
    """Let the log line say who it was."""
    seen: Seen = request.state.seen
    seen.update(tenant=caller.tenant, key=caller.key_id)
    if caller.token is not None:
        seen["token"] = caller.token.id
