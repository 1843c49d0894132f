"""An upgrade with a migration, as the runbook has it: one migrator, and two versions on one schema for a while."""

import json
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from threading import Event

import pytest

import gateway as package
from gateway.database.migrate import HEAD
from tests.servers.gateway import Gateway, describe
from tests.servers.simulator import simulator
from tests.servers.workers import SECRET

NEXT = f'''"""What a later version adds: a column, an index and a table."""

import sqlalchemy as sa
from alembic import op

revision = "9999"
down_revision = "{HEAD}"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("generations", sa.Column("later", sa.String(10)))
    op.create_index("generations_later", "generations", ["later"])
    op.create_table("later", sa.Column("id", sa.String(40), primary_key=True))
'''


def a_later_version(directory: Path) -> Path:
    """Make a version of the gateway that wants one more migration; return the directory to run it from."""
    shutil.copytree(Path(package.__file__).parent, directory / "gateway", ignore=shutil.ignore_patterns("__pycache__"))
    migrations = directory / "gateway" / "database"
    (migrations / "migrations" / "versions" / "9999_later.py").write_text(NEXT)
    wants = migrations / "migrate.py"
    changed, times = re.subn(r'^HEAD = ".+"$', 'HEAD = "9999"', wants.read_text(), flags=re.MULTILINE)
    assert times == 1
    wants.write_text(changed)
    return directory


@pytest.mark.full
def test_two_versions_serve_on_one_schema(tmp_path: Path, postgres_url: str) -> None:
    """While the old version serves, two migrators of the new one migrate once; then both serve, and the books agree.

    The old version starts no more on the new schema, and says why.
    """
    with simulator(tmp_path / "upstream") as upstream:
        named = {"database_url": postgres_url, "secret": SECRET}
        old, new = (
            describe(tmp_path / name, upstream=upstream.url, keys=upstream.keys, **named) for name in ("old", "new")
        )
        # Not the package of the working directory.
        new.environment |= {"PYTHONPATH": str(a_later_version(tmp_path / "later")), "PYTHONSAFEPATH": "1"}
        try:
            assert old.cli("migrate").returncode == 0
            old.begin()
            assert old.cli("tenant", "create", "team").returncode == 0
            key = old.cli("key", "create", "team").stdout.strip()
            with ThreadPoolExecutor(3) as pool:
                done = Event()
                asking = pool.submit(ask_until, done, old, key)
                migrators = list(pool.map(lambda _: new.cli("migrate"), range(2)))
                assert [one.returncode for one in migrators] == [0, 0], [one.stderr for one in migrators]
                new.begin()
                assert new.post(key).status_code == 200
                assert old.post(key).status_code == 200
                done.set()
                statuses = asking.result()
            assert set(statuses) == {200}
            assert old.stop() == 0
            old.launch()
            assert old.ended() == 1
            assert "of a later version" in old.log
            assert old.cli("migrate").returncode == 1
            assert new.post(key).status_code == 200
            (settled,) = json.loads(new.cli("spend", "--by", "tenant", "--format", "json").stdout)["rows"]
            assert Decimal(settled["cost_yuan"]) == upstream.bill_total()
            assert len(upstream.bill()) == len(statuses) + 3
            print(f"{len(statuses)} generations by the old version while the schema changed")
        finally:
            old.end()
            new.end()


def ask_until(done: Event, gateway: Gateway, key: str) -> list[int]:
    """Ask for one image after another; return the statuses."""
    statuses = []
    while not done.is_set():
        statuses.append(gateway.post(key).status_code)
    return statuses
