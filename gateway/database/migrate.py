"""Migrations: Alembic scripts that ship inside the package, run in one transaction."""

from pathlib import Path

from sqlalchemy import Connection, inspect, text

HEAD = "0006"
"""The revision this code wants; a test compares it with the scripts."""

_ONE_MIGRATOR = 4_201_337_001
_SCRIPTS = Path(__file__).parent / "migrations"


class NotMigrated(Exception):
    """The database has another schema than this code wants; the text says which, and what to run."""


def revision(connection: Connection) -> str | None:
    """Return the revision of the database, None for an empty one."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def require_head(connection: Connection) -> None:
    """Raise NotMigrated unless the schema is the one this code wants."""
    found = revision(connection)
    _require_known(found)
    if found != HEAD:
        raise NotMigrated(f"the database is at revision {found}, this version wants {HEAD}: run `gateway migrate`")


def upgrade(connection: Connection) -> bool:
    """Bring the schema to HEAD; return whether there was anything to do. Of two at once the second finds it done.

    Raises NotMigrated for the schema of a later version.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _ONE_MIGRATOR})
    found = revision(connection)
    _require_known(found)
    if found == HEAD:
        return False
    # A process that serves has no use for Alembic and would keep it in memory for good.
    from alembic import command  # noqa: PLC0415 -- as said above
    from alembic.config import Config  # noqa: PLC0415 -- as said above

    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
    return True


def _require_known(found: str | None) -> None:
    """Raise NotMigrated for a revision that only a later version has a script for."""
    if found is not None and not any(_SCRIPTS.glob(f"versions/{found}_*.py")):
        raise NotMigrated(f"the database is at revision {found}, of a later version: this one wants {HEAD}")
