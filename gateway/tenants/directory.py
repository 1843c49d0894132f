"""Who is calling: a key, looked up by its whole digest, known for a few seconds.

A look-up is remembered for 4 s, so that a revocation, a disabled tenant or a changed policy takes effect within 5 s in
every process. With SQL away a caller seen within the last 10 minutes is still known, for what costs nothing.
"""

import asyncio
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, bindparam, select

from gateway import clock
from gateway.clock import Millis
from gateway.database.engine import Database
from gateway.database.tables import keys, tenants
from gateway.errors import LedgerUnavailable, Unauthorized
from gateway.tenants.keys import Pepper, well_formed
from gateway.tenants.policy import KeyPolicy, Policy, key_policy_from_text, policy_from_text

FRESH_SECONDS = 4.0
KNOWN_SECONDS = 600.0
AWAY_SECONDS = 3.0
REMEMBERED = 10_000

_FIND = (
    select(
        keys.c.id.label("key_id"),
        keys.c.policy.label("key_policy"),
        keys.c.expires_at,
        keys.c.revoked_at,
        tenants.c.id.label("tenant_id"),
        tenants.c.name,
        tenants.c.policy,
        tenants.c.disabled_at,
    )
    .join(tenants)
    .where(keys.c.digest.in_(bindparam("digests", expanding=True)))
)


@dataclass(frozen=True, slots=True, eq=False)  # one object for as long as a look-up is remembered: compared by itself
class Caller:
    """Who is asking."""

    tenant_id: str
    tenant: str
    key_id: str
    policy: Policy
    key_policy: KeyPolicy


@dataclass(frozen=True, slots=True)
class _Entry:
    caller: Caller | None
    expires_at: Millis | None
    read_at: float


class Directory:
    """Finds callers by their keys."""

    def __init__(self, database: Database, pepper: Pepper) -> None:
        self._database = database
        self._pepper = pepper
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._reading: dict[str, asyncio.Task[_Entry]] = {}
        self._away_until = 0.0

    async def caller(self, key: str | None) -> Caller:
        """Return who this key belongs to.

        Raises Unauthorized for a key that is missing, malformed, unknown, expired or revoked or whose tenant is
        disabled, and LedgerUnavailable if that cannot be told.
        """
        if key is None:
            raise Unauthorized(detail="no key")
        digests = self._pepper.digests(key)
        entry = self._entries.get(digests[0])
        if entry is None and not well_formed(key):
            raise Unauthorized(detail="malformed key")
        if entry is None or time.monotonic() - entry.read_at > FRESH_SECONDS:
            entry = await self._read(digests, entry)
        if entry.caller is None:
            raise Unauthorized(detail="unknown, revoked or disabled")
        if entry.expires_at is not None and entry.expires_at <= clock.now():
            raise Unauthorized(detail=f"{entry.caller.key_id} is expired")
        return entry.caller

    async def _read(self, digests: list[str], known: _Entry | None) -> _Entry:
        """Read a key, once however many requests wait for it."""
        name = digests[0]
        remembered = known is not None and time.monotonic() - known.read_at < KNOWN_SECONDS
        if known is not None and remembered and time.monotonic() < self._away_until:
            return known  # SQL failed a moment ago: nobody waits for it to fail again
        task = self._reading.get(name)
        if task is None:
            task = self._reading[name] = asyncio.create_task(self._look_up(digests))
            task.add_done_callback(lambda _: self._reading.pop(name))
        try:
            return await asyncio.shield(task)
        except LedgerUnavailable:
            self._away_until = time.monotonic() + AWAY_SECONDS
            if known is not None and remembered:
                return known
            raise

    async def _look_up(self, digests: list[str]) -> _Entry:
        read_at = time.monotonic()
        row = await self._database.read(lambda connection: _find(connection, digests))
        entry = _entry(row, read_at)
        if entry.caller is not None:
            self._entries[digests[0]] = entry
            self._entries.move_to_end(digests[0])
            if len(self._entries) > REMEMBERED:
                self._entries.popitem(last=False)
        else:
            self._entries.pop(digests[0], None)
        return entry


def _find(connection: Connection, digests: list[str]) -> Row[*tuple[Any, ...]] | None:
    return connection.execute(_FIND, {"digests": digests}).first()


def _entry(row: Row[*tuple[Any, ...]] | None, read_at: float) -> _Entry:
    if row is None or row.revoked_at is not None or row.disabled_at is not None:
        return _Entry(None, None, read_at)
    caller = Caller(
        tenant_id=row.tenant_id,
        tenant=row.name,
        key_id=row.key_id,
        policy=policy_from_text(row.policy),
        key_policy=key_policy_from_text(row.key_policy),
    )
    return _Entry(caller, row.expires_at, read_at)
