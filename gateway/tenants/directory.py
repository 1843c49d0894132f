"""Who is calling: a key or a client token, looked up by its whole digest, known for a few seconds.

A look-up is remembered for 4 s, so that a revocation, a disabled tenant or a changed policy takes effect within 5 s in
every process; at once where a notice of the change comes (`notices.py`). With SQL away a caller seen within the last 10
minutes is still known, for what costs nothing.
"""

import asyncio
import time
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import BindParameter, Connection, Row, bindparam, select

from gateway import clock
from gateway.clock import Millis
from gateway.database.engine import Database
from gateway.database.tables import keys, tenants, tokens
from gateway.errors import LedgerUnavailable, Unauthorized
from gateway.tenants.keys import Pepper, is_token, well_formed
from gateway.tenants.policy import KeyPolicy, Policy, key_policy_from_text, policy_from_text
from gateway.tenants.token_policy import TokenPolicy, narrowed, token_policy_from_text

FRESH_SECONDS = 4.0
KNOWN_SECONDS = 600.0
AWAY_SECONDS = 3.0
REMEMBERED = 10_000

_KEY = (
    keys.c.id.label("key_id"),
    keys.c.policy.label("key_policy"),
    keys.c.expires_at,
    keys.c.revoked_at,
    tenants.c.id.label("tenant_id"),
    tenants.c.name,
    tenants.c.policy,
    tenants.c.disabled_at,
)
_TOKEN = (
    tokens.c.id.label("token_id"),
    tokens.c.end_user,
    tokens.c.policy.label("token_policy"),
    tokens.c.expires_at.label("token_expires_at"),
    tokens.c.revoked_at.label("token_revoked_at"),
)
_DIGESTS: BindParameter[Any] = bindparam("digests", expanding=True)
_FIND = select(*_KEY).select_from(keys.join(tenants)).where(keys.c.digest.in_(_DIGESTS))
_FIND_TOKEN = select(*_KEY, *_TOKEN).select_from(tokens.join(keys).join(tenants)).where(tokens.c.digest.in_(_DIGESTS))


@dataclass(frozen=True, slots=True)
class ClientToken:
    """The client token that a caller has in place of its server key. `user` is who the tenant says its holder is."""

    id: str
    user: str | None
    policy: TokenPolicy


@dataclass(frozen=True, slots=True, eq=False)  # one object for as long as a look-up is remembered: compared by itself
class Caller:
    """Who is asking. With a client token, `key_id` is its server key and `policy` is cut to what the token may."""

    tenant_id: str
    tenant: str
    key_id: str
    policy: Policy
    key_policy: KeyPolicy
    expires_at: Millis | None
    token: ClientToken | None = None


@dataclass(frozen=True, slots=True)
class _Entry:
    caller: Caller | None
    read_at: float


class Directory:
    """Finds callers by their keys."""

    def __init__(self, database: Database, pepper: Pepper) -> None:
        self._database = database
        self._pepper = pepper
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._reading: dict[str, asyncio.Task[_Entry]] = {}
        self._away_until = 0.0
        self._changed: dict[str, float] = {}
        """When something of a tenant was last changed, as far as was told of it of late."""
        self._all_changed = float("-inf")

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
        if entry is None or not self._is_fresh(entry):
            entry = await self._read(digests, entry, token=is_token(key))
        if entry.caller is None:
            raise Unauthorized(detail="unknown, revoked or disabled")
        if entry.caller.expires_at is not None and entry.caller.expires_at <= clock.now():
            raise Unauthorized(detail=f"{_name(entry.caller)} is expired")
        return entry.caller

    def forget(self, tenant: str | None) -> None:
        """Look up anew whoever is of the tenant of that name, or everybody: something was changed.

        What is known stays known, for as long as SQL is away.
        """
        now = time.monotonic()
        if tenant is None:
            self._all_changed = now
            return
        self._changed[tenant] = now
        if len(self._changed) > REMEMBERED:
            self._changed = {name: at for name, at in self._changed.items() if at > now - FRESH_SECONDS}

    def _is_fresh(self, entry: _Entry) -> bool:
        changed = self._all_changed
        if entry.caller is not None:
            changed = max(changed, self._changed.get(entry.caller.tenant, changed))
        return changed < entry.read_at and time.monotonic() - entry.read_at <= FRESH_SECONDS

    async def _read(self, digests: list[str], known: _Entry | None, *, token: bool) -> _Entry:
        """Read a key, once however many requests wait for it."""
        name = digests[0]
        remembered = known is not None and time.monotonic() - known.read_at < KNOWN_SECONDS
        if known is not None and remembered and time.monotonic() < self._away_until:
            return known  # SQL failed a moment ago: nobody waits for it to fail again
        task = self._reading.get(name)
        if task is None:
            task = self._reading[name] = asyncio.create_task(self._look_up(digests, token=token))
            task.add_done_callback(lambda _: self._reading.pop(name))
        try:
            return await asyncio.shield(task)
        except LedgerUnavailable:
            self._away_until = time.monotonic() + AWAY_SECONDS
            if known is not None and remembered:
                return known
            raise

    async def _look_up(self, digests: list[str], *, token: bool) -> _Entry:
        read_at = time.monotonic()
        row = await self._database.read(lambda connection: _find(connection, digests, token=token))
        entry = _entry(row, read_at, token=token)
        if entry.caller is not None:
            self._entries[digests[0]] = entry
            self._entries.move_to_end(digests[0])
            if len(self._entries) > REMEMBERED:
                self._entries.popitem(last=False)
        else:
            self._entries.pop(digests[0], None)
        return entry


def _find(connection: Connection, digests: list[str], *, token: bool) -> Row[*tuple[Any, ...]] | None:
    return connection.execute(_FIND_TOKEN if token else _FIND, {"digests": digests}).first()


def _entry(row: Row[*tuple[Any, ...]] | None, read_at: float, *, token: bool) -> _Entry:
    if row is None or row.revoked_at is not None or row.disabled_at is not None:
        return _Entry(None, read_at)
    caller = Caller(
        tenant_id=row.tenant_id,
        tenant=row.name,
        key_id=row.key_id,
        policy=policy_from_text(row.policy),
        key_policy=key_policy_from_text(row.key_policy),
        expires_at=row.expires_at,
    )
    if not token:
        return _Entry(caller, read_at)
    return _Entry(None if row.token_revoked_at is not None else _with_token(caller, row), read_at)


def _with_token(caller: Caller, row: Row[*tuple[Any, ...]]) -> Caller:
    """Cut what a key may do to what its token may."""
    own = ClientToken(row.token_id, row.end_user, token_policy_from_text(row.token_policy))
    expires_at = row.token_expires_at if caller.expires_at is None else min(row.token_expires_at, caller.expires_at)
    return replace(caller, policy=narrowed(caller.policy, own.policy), expires_at=expires_at, token=own)


def _name(caller: Caller) -> str:
    return caller.key_id if caller.token is None else caller.token.id
