"""The tables. Times are epoch milliseconds, money is micro-yuan, both 64-bit; lists and settings are JSON text.

The schema lives in `migrations/`; this file is what the code reads and writes, and a test holds the two together.
"""

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
)

metadata = MetaData()


def _only(rows: ColumnElement[bool]) -> dict[str, Any]:
    """Let an index hold these rows only."""
    return {"sqlite_where": rows, "postgresql_where": rows}


tenants = Table(
    "tenants",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("name", String(64), nullable=False, unique=True),
    Column("policy", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("disabled_at", BigInteger),
    Column("swept_to", String(40)),
)
"""`swept_to` is the generation up to which retention has asked for the erasure of all."""

keys = Table(
    "keys",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("tenant_id", ForeignKey("tenants.id"), nullable=False, index=True),
    Column("label", String(100), nullable=False),
    Column("digest", String(64), nullable=False, unique=True),
    Column("policy", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger),
    Column("revoked_at", BigInteger),
)

tokens = Table(
    "tokens",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("key_id", ForeignKey("keys.id"), nullable=False),
    Column("digest", String(64), nullable=False, unique=True),
    Column("end_user", String(128)),
    Column("policy", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False, index=True),
    Column("revoked_at", BigInteger),
    Column("spent", BigInteger, nullable=False),
    Column("held", BigInteger, nullable=False),
    Column("images_spent", BigInteger, nullable=False),
    Column("images_held", BigInteger, nullable=False),
    Index("tokens_of_user", "key_id", "end_user"),
)
"""Client tokens, children of a server key, and what each has used of its caps. Deleted some time after they expire:
nothing in the ledger needs them."""

processes = Table(
    "processes",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("started_at", BigInteger, nullable=False),
    Column("heartbeat_at", BigInteger, nullable=False),
)

SPENT = (
    "day",
    "tenant_id",
    "model",
    "provider",
    "key_id",
    "state",
    "bill",
    "end_user",
    "quote",
    "cost",
    "images_generated",
    "images_failed",
)
"""All that a report reads of a generation: its index holds it, so that the rows themselves are not read."""

generations = Table(
    "generations",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("tenant_id", ForeignKey("tenants.id"), nullable=False),
    Column("key_id", String(40), nullable=False),
    Column("token_id", String(40)),
    Column("images_asked", Integer),
    Column("process_id", String(40), nullable=False),
    Column("request_id", String(128), nullable=False),
    Column("idempotency_key", String(255)),
    Column("fingerprint", String(64), nullable=False),
    Column("state", String(10), nullable=False),
    Column("bill", String(10)),
    Column("day", String(10), nullable=False),
    Column("model", String(128), nullable=False),
    Column("answered_model", String(128)),
    Column("provider", String(128), nullable=False),
    Column("account", String(20)),
    Column("quote", BigInteger, nullable=False),
    Column("cost", BigInteger),
    Column("images_generated", Integer),
    Column("images_failed", Integer),
    Column("created_at", BigInteger, nullable=False),
    Column("settled_at", BigInteger),
    Column("ask", Text, nullable=False),
    Column("reply", Text),
    Column("failure", Text),
    Column("error", Text),
    Column("end_user", String(128)),
    Column("announced", Boolean, nullable=False, server_default=false()),
    Column("repeat_of", String(40)),
    Column("erase_asked_at", BigInteger),
    Column("erased_at", BigInteger),
    Index("generations_of_tenant", "tenant_id", "id"),
    Index("generations_of_model", "tenant_id", "model", "id"),
    Index("generations_open", "state", "tenant_id", "id"),
    Index("generations_spent", *SPENT),
    UniqueConstraint("tenant_id", "idempotency_key", name="generations_idempotent"),
)
"""The ledger: a row a generation, never deleted. `day` is the local day of the reservation, which reports and budgets
go by; where there is no reply, `failure` is the private reason and `error` what the caller was told; the end of one
that is `announced` goes to the outbox. `repeat_of` is the generation that a free row was answered from. What is erased
loses its words when that is asked for."""

Index(
    "generations_to_erase",
    generations.c.erase_asked_at,
    **_only(generations.c.erase_asked_at.is_not(None) & generations.c.erased_at.is_(None)),
)
Index("generations_repeating", generations.c.repeat_of, **_only(generations.c.repeat_of.is_not(None)))

balances = Table(
    "balances",
    metadata,
    Column("scope", String(40), primary_key=True),
    Column("period", String(10), primary_key=True),
    Column("start", String(10), primary_key=True),
    Column("spent", BigInteger, nullable=False),
    Column("held", BigInteger, nullable=False),
)
"""What a scope (a tenant) spent and holds in a window: the day `2026-11-22`, the month `2026-11`, the total (``)."""

savings = Table(
    "savings",
    metadata,
    Column("day", String(10), primary_key=True),
    Column("tenant_id", String(40), primary_key=True),
    Column("model", String(128), primary_key=True),
    Column("provider", String(128), primary_key=True),
    Column("key_id", String(40), primary_key=True),
    Column("end_user", String(128), primary_key=True),
    Column("hits", BigInteger, nullable=False),
    Column("collapsed", BigInteger, nullable=False),
    Column("replayed", BigInteger, nullable=False),
    Column("saved", BigInteger, nullable=False),
)
"""Replies of a local day that cost nothing, and what they would have cost; `end_user` is empty where none was named.

Kept for as long as the ledger, and for the same reports; like a generation's, its end user stays when words are erased.

No foreign key: PostgreSQL would lock the tenant's row for it, which is what reservations wait for."""

images = Table(
    "images",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("generation_id", ForeignKey("generations.id"), nullable=False),
    Column("tenant_id", ForeignKey("tenants.id"), nullable=False),
    Column("position", Integer, nullable=False),
    Column("media_type", String(20), nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("width", Integer, nullable=False),
    Column("height", Integer, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    UniqueConstraint("generation_id", "position", name="images_of_generation"),
)

audit = Table(
    "audit",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("at", BigInteger, nullable=False),
    Column("actor", String(100), nullable=False),
    Column("action", String(40), nullable=False),
    Column("subject", String(100), nullable=False),
    Column("before", Text),
    Column("after", Text),
)
"""Who changed which tenant, key, policy or unknown generation, when, from what to what."""

webhook_endpoints = Table(
    "webhook_endpoints",
    metadata,
    Column("tenant_id", ForeignKey("tenants.id"), primary_key=True),
    Column("version", Integer, nullable=False),
    Column("rotated_at", BigInteger),
    Column("disabled_at", BigInteger),
    Column("paused_until", BigInteger, nullable=False),
)
"""Which secret of a tenant signs (for a day after `rotated_at` the one before it too); whether its endpoint is gone."""

webhook_events = Table(
    "webhook_events",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("tenant_id", ForeignKey("tenants.id"), nullable=False),
    Column("type", String(40), nullable=False),
    Column("body", Text, nullable=False),
    Column("state", String(10), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("due_at", BigInteger, nullable=False),
    Column("status", Integer),
    Column("failure", Text),
    Index("webhook_events_due", "state", "due_at"),
    Index("webhook_events_of_tenant", "tenant_id", "id"),
)
"""The outbox. `due_at` is when a waiting event may be claimed (again), and when an ended one ended."""

budget_alerts = Table(
    "budget_alerts",
    metadata,
    Column("scope", String(40), primary_key=True),
    Column("period", String(10), primary_key=True),
    Column("start", String(10), primary_key=True),
    Column("percent", Integer, primary_key=True),
)
"""The thresholds of a window that were announced."""
