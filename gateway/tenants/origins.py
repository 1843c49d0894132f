"""Which origins any tenant lets call: what a preflight, which names no key, is answered by.

Known for seconds, like callers, and read once however many requests wait for it. With SQL away, what was known within
the last 10 minutes stands.
"""

import asyncio
import time

from sqlalchemy import Connection, select

from gateway.database.engine import Database
from gateway.database.tables import tenants
from gateway.errors import LedgerUnavailable
from gateway.tenants.directory import AWAY_SECONDS, FRESH_SECONDS, KNOWN_SECONDS
from gateway.tenants.policy import policy_from_text


class Origins:
    """The origins of all tenants together: as many tenants as operators make, MOST_ORIGINS of each."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: frozenset[str] = frozenset()
        self._known_until = self._fresh_until = float("-inf")
        self._changes = 0
        self._reading: asyncio.Task[None] | None = None

    async def allow(self, origin: str) -> bool:
        """Say whether any tenant allows it. Raises LedgerUnavailable if that cannot be told."""
        if time.monotonic() > self._fresh_until:
            await self._read()
        return origin in self._known

    def forget(self, tenant: str | None) -> None:  # noqa: ARG002 -- one tenant's are not told from another's
        """Read them anew for the next one who asks: something of a tenant was changed."""
        self._changes += 1
        self._fresh_until = float("-inf")

    async def _read(self) -> None:
        if self._reading is None:
            self._reading = asyncio.create_task(self._look_up())
            self._reading.add_done_callback(self._was_read)
        try:
            await asyncio.shield(self._reading)
        except LedgerUnavailable:
            if time.monotonic() > self._known_until:
                raise
            self._fresh_until = time.monotonic() + AWAY_SECONDS  # nobody waits for SQL to fail again

    def _was_read(self, _: asyncio.Task[None]) -> None:
        self._reading = None

    async def _look_up(self) -> None:
        began, changes = time.monotonic(), self._changes
        self._known = await self._database.read(_read)
        self._known_until = began + KNOWN_SECONDS
        if changes == self._changes:  # else it was changed while it was read
            self._fresh_until = began + FRESH_SECONDS


def _read(connection: Connection) -> frozenset[str]:
    """Read the policies that name any; a policy that names none does not hold the word."""
    named = select(tenants.c.policy).where(tenants.c.disabled_at.is_(None), tenants.c.policy.contains('"origins":'))
    policies = (policy_from_text(text) for text in connection.scalars(named))
    return frozenset(origin for policy in policies for origin in policy.origins or ())
