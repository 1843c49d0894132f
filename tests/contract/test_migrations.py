"""Migrations on SQLite and on PostgreSQL: one schema, the one that `tables.py` names."""

import asyncio
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from gateway.database import migrate
from gateway.database.engine import Database, open_database
from gateway.database.migrate import HEAD, NotMigrated, require_head, revision, upgrade
from gateway.database.tables import metadata
from tests.books import opened


def differences(connection: Connection) -> list[object]:
    """Return what `tables.py` and the database disagree about."""
    return list(compare_metadata(MigrationContext.configure(connection, opts={"compare_type": True}), metadata))


def test_an_empty_database_becomes_what_the_code_reads_and_writes(database_url: str) -> None:
    """After the migrations there is no difference to `tables.py`, and a second run has nothing to do."""

    async def story() -> None:
        database = open_database(database_url)
        try:
            assert await database.read(revision) is None
            with pytest.raises(NotMigrated, match="gateway migrate"):
                await database.read(require_head)
            assert await database.write(upgrade)
            await database.read(require_head)
            assert await database.read(differences) == []
            assert not await database.write(upgrade)
        finally:
            await database.close()

    asyncio.run(story())


def test_two_migrators_at_once_migrate_once(database_url: str) -> None:
    """Of two processes that migrate at the same moment one does it and the other finds it done."""

    async def story() -> None:
        databases = [open_database(database_url) for _ in range(2)]
        try:
            did = await asyncio.gather(*(one.write(upgrade) for one in databases))
            assert sorted(did) == [False, True]
            assert await databases[0].read(revision) == HEAD
        finally:
            await asyncio.gather(*(one.close() for one in databases))

    asyncio.run(story())


def test_another_schema_is_refused(database_url: str) -> None:
    """A database of a later version is not served from."""

    async def story() -> None:
        async with opened(database_url) as database:
            await _stamp(database, "9999")
            with pytest.raises(NotMigrated, match="9999"):
                await database.read(require_head)

    asyncio.run(story())


def test_the_code_wants_the_newest_script() -> None:
    """HEAD is the one head of the scripts."""
    config = Config()
    config.set_main_option("script_location", str(Path(migrate.__file__).parent / "migrations"))
    assert ScriptDirectory.from_config(config).get_heads() == [HEAD]


async def _stamp(database: Database, name: str) -> None:
    await database.write(
        lambda sql: sql.execute(text("UPDATE alembic_version SET version_num = :name"), {"name": name})
    )
