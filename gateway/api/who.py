"""Who is calling: the key in the Authorization header, and a brake on those who guess one."""

from dataclasses import dataclass

from starlette.requests import Request

from gateway.contract import bearer
from gateway.errors import RateLimited, Unauthorized
from gateway.limits import AddressLimiter
from gateway.tenants.directory import Caller, Directory


@dataclass(frozen=True, slots=True)
class Who:
    """Tells the caller of a request, before a byte of its body is read."""

    directory: Directory
    failures: AddressLimiter

    async def calls(self, request: Request) -> Caller:
        """Return the caller.

        Raises Unauthorized, or RateLimited for an address that failed too often of late: a good key is never refused
        for it, and no tenant pays for it.
        """
        try:
            return await self.directory.caller(bearer(request.headers.getlist("authorization")))
        except Unauthorized:
            address = "" if request.client is None else request.client.host
            wait = self.failures.blocked(address)
            if wait is not None:
                raise RateLimited("Too many failed authentications", retry_after=wait) from None
            self.failures.failed(address)
            raise
