"""Change notices: what was changed of a tenant is looked up anew at once, in this process and over Redis in all others.

A notice may be lost, so it only hastens what would be seen anyway once a look-up is no longer fresh.
"""

from contextlib import aclosing, suppress
from typing import Protocol

from gateway.redis_link import Patience, RedisLink, RedisUnavailable

CHANNEL = "igw:tenants:1"


class Forgetful(Protocol):
    """What remembers something of tenants."""

    def forget(self, tenant: str | None) -> None:
        """Look up anew what is known of the tenant of that name; of all, if it is None."""


class Notices:
    """Tells of changes, and hears of them. Without a link there is one process, which remembers by itself."""

    def __init__(self, link: RedisLink | None, *remembering: Forgetful) -> None:
        self._link = link
        self._remembering = remembering

    async def tell(self, tenant: str | None) -> None:
        """Tell, after the commit, that something of a tenant was changed; None if it may be any."""
        self._forget(tenant)
        if self._link is not None:
            await publish(self._link, tenant)

    async def listen(self) -> None:
        """Hear what other processes tell, until cancelled."""
        if self._link is None:
            return
        async with aclosing(self._link.notices(CHANNEL)) as heard:
            async for payload in heard:
                # A subscription that begins may have missed something; and no tenant's name is empty.
                self._forget(payload.decode() if payload else None)

    def _forget(self, tenant: str | None) -> None:
        for one in self._remembering:
            one.forget(tenant)


async def publish(link: RedisLink, tenant: str | None) -> None:
    """Tell every process that listens; with Redis away they see it by themselves, some seconds later."""
    with suppress(RedisUnavailable):
        await link.publish(CHANNEL, b"" if tenant is None else tenant.encode(), patience=Patience())
