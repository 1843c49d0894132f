"""Client tokens: minted from a server key for a browser, revoked alone, by user or with their key, swept when over.

A token is a row like a key, a child of it, for minutes. What it has used of its caps is the ledger's to write.
"""

import asyncio
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection, Select, delete, insert, select, update

from gateway import clock
from gateway.clock import Millis
from gateway.database.audit import record
from gateway.database.engine import Database
from gateway.database.tables import keys, tenants, tokens
from gateway.errors import LedgerUnavailable, NotFound
from gateway.ids import new_id
from gateway.money import format_yuan
from gateway.tenants.administration import find_tenant
from gateway.tenants.directory import Caller
from gateway.tenants.keys import Pepper, make_token
from gateway.tenants.policy import to_text
from gateway.tenants.token_policy import TokenAsk

SWEPT_AFTER_MS = 3_600_000
"""How long a token's row outlives it: far longer than a request that was let in with it may wait to be reserved."""

SWEPT_AT_ONCE = 500
SWEPT_EVERY_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Token:
    """A token as it is shown: everything but the token."""

    id: str
    key_id: str
    granted: TokenAsk
    created_at: Millis
    expires_at: Millis

    def shown(self) -> dict[str, Any]:
        """Return it as JSON has it; null is whatever the key and the tenant have."""
        policy, cost = asdict(self.granted.policy), self.granted.policy.max_cost
        return {
            "id": self.id,
            "expires_at": clock.iso(self.expires_at),
            "user": self.granted.user,
            **policy,
            "max_cost": None if cost is None else format_yuan(cost),
        }


def new_token(caller: Caller, ask: TokenAsk) -> Token:
    """Make a token of the caller's key; it ends no later than the key."""
    now = clock.now()
    expires_at = now + ask.expires_in * 1000
    if caller.expires_at is not None:
        expires_at = min(expires_at, caller.expires_at)
    return Token(new_id("tok"), caller.key_id, ask, now, expires_at)


def add_token(connection: Connection, token: Token, pepper: Pepper) -> str:
    """Write a token's row and return the token's text, which is stored nowhere."""
    text = make_token()
    connection.execute(
        insert(tokens).values(
            id=token.id,
            key_id=token.key_id,
            digest=pepper.digest(text),
            end_user=token.granted.user,
            policy=to_text(token.granted.policy),
            created_at=token.created_at,
            expires_at=token.expires_at,
            spent=0,
            held=0,
            images_spent=0,
            images_held=0,
        )
    )
    return text


def revoke_token(connection: Connection, token_id: str, *, by: str, tenant: str | None = None) -> str:
    """Revoke a token for good and return its tenant's name; only one of that tenant's if it is named. Raises NotFound.

    A token that was swept is not there; it was over long before.
    """
    query = (
        select(tokens.c.revoked_at, tenants.c.name)
        .select_from(tokens.join(keys).join(tenants))
        .where(tokens.c.id == token_id)
    )
    row = connection.execute(query.with_for_update(of=tokens)).first()
    if row is None or tenant not in (None, row.name):
        raise NotFound(f"There is no token {token_id[:40]}")
    if row.revoked_at is None:
        connection.execute(update(tokens).where(tokens.c.id == token_id).values(revoked_at=clock.now()))
        record(connection, by, "token.revoke", token_id, before=None, after={"tenant": row.name})
    name: str = row.name
    return name


def revoke_user(connection: Connection, tenant: str, user: str, *, by: str) -> int:
    """Revoke every token that a tenant's keys minted for an end user; return how many lived. Raises NotFound."""
    owner = find_tenant(connection, tenant, to_change=True)  # as the ledger does, which changes several tokens at once
    now = clock.now()
    revoked = connection.execute(
        update(tokens)
        .where(
            tokens.c.key_id.in_(select(keys.c.id).where(keys.c.tenant_id == owner.id)),
            tokens.c.end_user == user,
            tokens.c.revoked_at.is_(None),
            tokens.c.expires_at > now,
        )
        .values(revoked_at=now)
    ).rowcount
    if revoked:
        record(connection, by, "token.revoke", tenant, before=None, after={"user": user, "tokens": revoked})
    return revoked


async def keep_swept(database: Database) -> None:
    """Delete what is over, until cancelled; what an outage of SQL leaves is deleted after it."""
    while True:
        await asyncio.sleep(SWEPT_EVERY_SECONDS)
        with suppress(LedgerUnavailable):
            while await database.write(lambda connection: sweep(connection, clock.now())) == SWEPT_AT_ONCE:
                pass


def sweep(connection: Connection, now: Millis) -> int:
    """Delete tokens that were over long ago, at most SWEPT_AT_ONCE; return how many."""
    over: Select[tuple[str]] = (
        select(tokens.c.id)
        .where(tokens.c.expires_at < now - SWEPT_AFTER_MS)
        .order_by(tokens.c.expires_at)
        .limit(SWEPT_AT_ONCE)
        .with_for_update(skip_locked=True)  # of a token that is being settled, or swept by another process
    )
    ids = list(connection.scalars(over))
    if ids:
        connection.execute(delete(tokens).where(tokens.c.id.in_(ids)))
    return len(ids)
