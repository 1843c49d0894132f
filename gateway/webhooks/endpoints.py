"""Where a tenant's events go: its URL is in its policy; here is which secret signs, and whether it is gone.

A tenant without a row has the first secret, and is not gone.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select
from sqlalchemy.dialects import postgresql, sqlite

from gateway import clock
from gateway.clock import Millis
from gateway.database.audit import record
from gateway.database.tables import webhook_endpoints
from gateway.errors import InvalidRequest
from gateway.guard import AddressRefused, Guard
from gateway.webhooks.signature import Signer

OVERLAP_MS = 24 * 3600 * 1000
"""After a rotation the former secret signs too, for so long."""


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Sets up endpoints and rotates their secrets, inside a transaction of the caller's."""

    signer: Signer
    guard: Guard

    def follow(self, connection: Connection, tenant_id: str, before: str | None, after: str | None) -> str | None:
        """Heed that a tenant's URL was set; return the secret of a new endpoint, which is shown this once.

        The same URL set again takes back that it is gone. Raises InvalidRequest for a URL that may not be called.
        """
        if after is None:
            return None
        try:
            self.guard.target(after)
        except AddressRefused as refused:
            raise InvalidRequest(f"webhook_url: {refused}") from refused
        if before == after:
            _write(connection, tenant_id, disabled_at=None, paused_until=0)
            return None
        # Whoever reads the mail of the former address must not be able to sign for this one.
        version = _version(connection, tenant_id) + 1
        _write(connection, tenant_id, version=version, rotated_at=None, disabled_at=None, paused_until=0)
        return self.signer.secret(tenant_id, version)

    def rotate(self, connection: Connection, tenant_id: str, *, by: str) -> str:
        """Give an endpoint a new secret and return it; the former one signs too for another 24 h."""
        version = _version(connection, tenant_id) + 1
        _write(connection, tenant_id, version=version, rotated_at=clock.now())
        record(connection, by, "webhook.rotate", tenant_id, before={"secret": version - 1}, after={"secret": version})
        return self.signer.secret(tenant_id, version)


def disable(connection: Connection, tenant_id: str, version: int, moment: Millis) -> None:
    """Note that an endpoint is gone, unless the tenant has another since that version."""
    _write(connection, tenant_id, still=version, disabled_at=moment)


def pause(connection: Connection, tenant_id: str, version: int, until: Millis) -> None:
    """Leave an endpoint in peace until then, unless the tenant has another since that version."""
    _write(connection, tenant_id, still=version, paused_until=until)


def signing(version: int, rotated_at: Millis | None, moment: Millis) -> tuple[int, ...]:
    """Return the secrets that sign at a moment, newest first."""
    if rotated_at is None or moment - rotated_at >= OVERLAP_MS:
        return (version,)
    return (version, version - 1)


def _version(connection: Connection, tenant_id: str) -> int:
    query = select(webhook_endpoints.c.version).where(webhook_endpoints.c.tenant_id == tenant_id).with_for_update()
    return connection.scalar(query) or 0


def _write(connection: Connection, tenant_id: str, *, still: int | None = None, **values: Any) -> None:
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    row = {"tenant_id": tenant_id, "version": 0, "paused_until": 0} | values
    statement = dialect.insert(webhook_endpoints).values(row)
    unchanged = None if still is None else webhook_endpoints.c.version == still
    connection.execute(statement.on_conflict_do_update(index_elements=["tenant_id"], set_=values, where=unchanged))
