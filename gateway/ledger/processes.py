"""Who is alive. A generation names its process; when that is gone its reservation becomes unknown and stays held."""

from sqlalchemy import Connection, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite

from gateway.clock import Millis
from gateway.database.tables import generations, processes
from gateway.ledger.announced import announce_unknown
from gateway.ledger.reserve import lock_tenants

HEARTBEAT_SECONDS = 5.0
GONE_AFTER_MS = 30_000
FORGOTTEN_AFTER_MS = 86_400_000


def heartbeat(connection: Connection, process_id: str, moment: Millis) -> None:
    """Write that this process lives: by itself, since it must not wait for any lock."""
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    statement = dialect.insert(processes).values(id=process_id, started_at=moment, heartbeat_at=moment)
    connection.execute(statement.on_conflict_do_update(index_elements=["id"], set_={"heartbeat_at": moment}))
    connection.execute(delete(processes).where(processes.c.heartbeat_at < moment - FORGOTTEN_AFTER_MS))


def give_up(connection: Connection, process_id: str, moment: Millis, *, alone: bool) -> int:
    """Give up what belonged to processes that live no more; return how many generations.

    `alone`: this process has locked the data directory of an embedded database, so every other process is gone.
    """
    living = select(processes.c.id).where(processes.c.heartbeat_at >= moment - GONE_AFTER_MS)
    if alone:
        living = living.where(processes.c.id == process_id)
    orphaned = (generations.c.state == "reserved") & generations.c.process_id.not_in(living)
    # Their tenants first, like everybody else: a late settlement has its tenant, and wants what would be given up.
    whose = connection.scalars(select(generations.c.tenant_id).where(orphaned).distinct()).all()
    if not whose:
        return 0
    lock_tenants(connection, whose)
    given_up = connection.execute(
        update(generations)
        .where(orphaned, generations.c.tenant_id.in_(whose))
        .values(state="unknown", bill="unknown", failure="its process ended before it settled")
        .returning(generations.c.id, generations.c.tenant_id, generations.c.model, generations.c.announced)
    ).all()
    announce_unknown(connection, given_up, moment)
    return len(given_up)


def goodbye(connection: Connection, process_id: str) -> None:
    """Forget a process that ends in order; it has nothing left to settle."""
    connection.execute(delete(processes).where(processes.c.id == process_id))


def eldest(connection: Connection, moment: Millis) -> str | None:
    """Return the process that has lived longest; None if none lives. Of what all see, it alone tells people."""
    living = select(processes.c.id).where(processes.c.heartbeat_at >= moment - GONE_AFTER_MS)
    return connection.scalar(living.order_by(processes.c.started_at, processes.c.id).limit(1))
