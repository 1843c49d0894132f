"""The audit trail: who changed which tenant, key, policy or unknown generation, when, from what to what.

A row is written in the transaction of the change it tells of: there is no change without its row, nor the reverse.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import Connection, insert, select

from gateway import clock
from gateway.clock import Millis
from gateway.database.tables import audit
from gateway.ids import new_id

LISTED = 100
"""The most rows that are listed at once."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A row of the trail. `before` and `after` are the subject as JSON has it; None where there was or is none."""

    id: str
    at: Millis
    actor: str
    action: str
    subject: str
    before: Any
    after: Any

    def shown(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            "id": self.id,
            "at": clock.iso(self.at),
            "actor": self.actor,
            "action": self.action,
            "subject": self.subject,
            "before": self.before,
            "after": self.after,
        }


def record(connection: Connection, actor: str, action: str, subject: str, *, before: object, after: object) -> None:
    """Write an audit row: `actor` did `action` to `subject`."""
    connection.execute(
        insert(audit).values(
            id=new_id("aud"),
            at=clock.now(),
            actor=actor,
            action=action,
            subject=subject,
            before=None if before is None else orjson.dumps(before).decode(),
            after=None if after is None else orjson.dumps(after).decode(),
        )
    )


def list_entries(
    connection: Connection, *, subject: str | None = None, older_than: str | None = None, limit: int = LISTED
) -> Sequence[Entry]:
    """Return the newest entries first, at most `limit`: of one subject, or older than the entry of that id."""
    query = select(audit).order_by(audit.c.id.desc()).limit(limit)
    if subject is not None:
        query = query.where(audit.c.subject == subject)
    if older_than is not None:
        query = query.where(audit.c.id < older_than)
    return [
        Entry(row.id, row.at, row.actor, row.action, row.subject, _read(row.before), _read(row.after))
        for row in connection.execute(query)
    ]


def _read(text: str | None) -> Any:
    return None if text is None else orjson.loads(text)
