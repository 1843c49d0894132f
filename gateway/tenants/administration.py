"""Changing tenants and keys: one code path for the command line and the admin API, an audit row for every change."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update
from sqlalchemy.exc import IntegrityError

from gateway import clock
from gateway.clock import Millis
from gateway.database.audit import record
from gateway.database.tables import keys, tenants
from gateway.errors import NameTaken, NotFound
from gateway.ids import new_id
from gateway.tenants.keys import Pepper, make_key
from gateway.tenants.policy import (
    InvalidPolicy,
    KeyPolicy,
    Policy,
    change,
    change_key,
    key_policy_from_text,
    policy_from_text,
    show,
    to_text,
)

ROTATION_OVERLAP_MS = 24 * 3600 * 1000

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Tenant:
    """A tenant as it is shown."""

    id: str
    name: str
    policy: Policy
    created_at: Millis
    disabled_at: Millis | None

    def shown(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            "id": self.id,
            "name": self.name,
            "disabled": self.disabled_at is not None,
            "created_at": clock.iso(self.created_at),
            "policy": show(self.policy),
        }


@dataclass(frozen=True, slots=True)
class Key:
    """A key as it is shown: everything but the key."""

    id: str
    tenant: str
    label: str
    policy: KeyPolicy
    created_at: Millis
    expires_at: Millis | None
    revoked_at: Millis | None

    def shown(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            "id": self.id,
            "tenant": self.tenant,
            "label": self.label,
            "state": self.state(clock.now()),
            "created_at": clock.iso(self.created_at),
            "expires_at": None if self.expires_at is None else clock.iso(self.expires_at),
            "policy": show(self.policy),
        }

    def state(self, moment: Millis) -> str:
        """Return `active`, `revoked` or `expired`."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= moment else "active"


@dataclass(frozen=True, slots=True)
class Administration:
    """Does one change each, inside a transaction of the caller's. `actor` is who asked, for the audit trail."""

    actor: str
    pepper: Pepper
    known_models: frozenset[str]

    def create_tenant(self, connection: Connection, name: str, options: Mapping[str, Any]) -> Tenant:
        """Make a tenant. Raises InvalidPolicy and NameTaken."""
        if not _NAME.fullmatch(name):
            raise InvalidPolicy("name: must be 1 to 64 of a-z, 0-9, '.', '_', '-' and begin with a letter or digit")
        if connection.scalar(select(tenants.c.id).where(tenants.c.name == name)) is not None:
            raise NameTaken(f"A tenant named {name} exists")
        tenant = Tenant(new_id("ten"), name, change(Policy(), options, self.known_models), clock.now(), None)
        row = {"id": tenant.id, "name": name, "policy": to_text(tenant.policy), "created_at": tenant.created_at}
        try:
            connection.execute(insert(tenants).values(row))
        except IntegrityError as error:  # made by somebody else since it was looked for
            raise NameTaken(f"A tenant named {name} exists") from error
        self._record(connection, "tenant.create", name, None, tenant.shown())
        return tenant

    def update_tenant(self, connection: Connection, name: str, options: Mapping[str, Any]) -> Tenant:
        """Change a tenant's policy. Raises InvalidPolicy and NotFound."""
        before = find_tenant(connection, name, to_change=True)
        policy = change(before.policy, options, self.known_models)
        connection.execute(update(tenants).where(tenants.c.id == before.id).values(policy=to_text(policy)))
        after = find_tenant(connection, name)
        self._record(connection, "tenant.update", name, before.shown(), after.shown())
        return after

    def disable_tenant(self, connection: Connection, name: str, *, disabled: bool) -> Tenant:
        """Disable or enable a tenant; its keys follow within 5 s. Raises NotFound."""
        before = find_tenant(connection, name, to_change=True)
        moment = clock.now() if disabled else None
        connection.execute(update(tenants).where(tenants.c.id == before.id).values(disabled_at=moment))
        after = find_tenant(connection, name)
        self._record(connection, "tenant.disable" if disabled else "tenant.enable", name, before.shown(), after.shown())
        return after

    def create_key(
        self,
        connection: Connection,
        tenant: str,
        *,
        label: str = "",
        expires_at: Millis | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> tuple[Key, str]:
        """Make a key and return it with its text, which is stored nowhere. Raises InvalidPolicy and NotFound."""
        if len(label) > 100 or not label.isprintable():  # noqa: PLR2004 -- said in the text
            raise InvalidPolicy("label: must be at most 100 printable characters")
        owner = find_tenant(connection, tenant)
        policy = change_key(KeyPolicy(), {} if options is None else options)
        text = make_key()
        key = Key(new_id("key"), tenant, label, policy, clock.now(), expires_at, None)
        connection.execute(
            insert(keys).values(
                id=key.id,
                tenant_id=owner.id,
                label=label,
                digest=self.pepper.digest(text),
                policy=to_text(policy),
                created_at=key.created_at,
                expires_at=expires_at,
            )
        )
        self._record(connection, "key.create", key.id, None, key.shown())
        return key, text

    def rotate_key(self, connection: Connection, key_id: str) -> tuple[Key, str]:
        """Make a successor with the same limits; the old key works for another 24 h at most. Raises NotFound."""
        old = find_key(connection, key_id, to_change=True)
        if old.state(clock.now()) != "active":
            raise NotFound(f"{key_id} is {old.state(clock.now())}: create a new key instead")
        overlap = clock.now() + ROTATION_OVERLAP_MS
        key, text = self.create_key(connection, old.tenant, label=old.label, expires_at=old.expires_at)
        expires = overlap if old.expires_at is None else min(overlap, old.expires_at)
        connection.execute(update(keys).where(keys.c.id == key.id).values(policy=to_text(old.policy)))
        connection.execute(update(keys).where(keys.c.id == key_id).values(expires_at=expires))
        self._record(connection, "key.rotate", key_id, old.shown(), find_key(connection, key_id).shown())
        return find_key(connection, key.id), text

    def revoke_key(self, connection: Connection, key_id: str) -> Key:
        """Revoke a key for good; it is refused within 5 s everywhere. Raises NotFound."""
        before = find_key(connection, key_id, to_change=True)
        if before.revoked_at is None:
            connection.execute(update(keys).where(keys.c.id == key_id).values(revoked_at=clock.now()))
            self._record(connection, "key.revoke", key_id, before.shown(), find_key(connection, key_id).shown())
        return find_key(connection, key_id)

    def _record(self, connection: Connection, action: str, subject: str, before: object, after: object) -> None:
        record(connection, self.actor, action, subject, before=before, after=after)


def find_tenant(connection: Connection, name: str, *, to_change: bool = False) -> Tenant:
    """Return a tenant by its name; `to_change` lets no other transaction change it before this one. Raises NotFound."""
    query = select(tenants).where(tenants.c.name == name)
    row = connection.execute(query.with_for_update() if to_change else query).first()
    if row is None:
        raise NotFound(f"There is no tenant named {name[:64]}")
    return _tenant(row)


def list_tenants(connection: Connection) -> Sequence[Tenant]:
    """Return all tenants by name."""
    return [_tenant(row) for row in connection.execute(select(tenants).order_by(tenants.c.name))]


def oldest_tenants(connection: Connection, count: int) -> Sequence[str]:
    """Return the names of the first so many tenants that were made, oldest first."""
    return connection.scalars(select(tenants.c.name).order_by(tenants.c.id).limit(count)).all()


def webhook_urls(connection: Connection, tenant_ids: Collection[str]) -> dict[str, str]:
    """Return the webhook URLs of those of these tenants that have one and are not disabled."""
    query = select(tenants.c.id, tenants.c.policy).where(tenants.c.id.in_(tenant_ids), tenants.c.disabled_at.is_(None))
    found = {row.id: policy_from_text(row.policy).webhook_url for row in connection.execute(query)}
    return {tenant_id: url for tenant_id, url in found.items() if url is not None}


def find_key(connection: Connection, key_id: str, *, to_change: bool = False) -> Key:
    """Return a key by its id; `to_change` lets no other transaction change it before this one. Raises NotFound."""
    query = _KEYS.where(keys.c.id == key_id)
    row = connection.execute(query.with_for_update(of=keys) if to_change else query).first()
    if row is None:
        raise NotFound(f"There is no key {key_id[:40]}")
    return _key(row)


def list_keys(connection: Connection, tenant: str) -> Sequence[Key]:
    """Return a tenant's keys, oldest first. Raises NotFound."""
    owner = find_tenant(connection, tenant)
    return [_key(row) for row in connection.execute(_KEYS.where(keys.c.tenant_id == owner.id).order_by(keys.c.id))]


_KEYS = select(
    keys.c.id,
    tenants.c.name.label("tenant"),
    keys.c.label,
    keys.c.policy,
    keys.c.created_at,
    keys.c.expires_at,
    keys.c.revoked_at,
).join(tenants)


def _tenant(row: Row[*tuple[Any, ...]]) -> Tenant:
    return Tenant(row.id, row.name, policy_from_text(row.policy), row.created_at, row.disabled_at)


def _key(row: Row[*tuple[Any, ...]]) -> Key:
    policy = key_policy_from_text(row.policy)
    return Key(row.id, row.tenant, row.label, policy, row.created_at, row.expires_at, row.revoked_at)
