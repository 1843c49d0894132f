"""An upgrade with a migration, as the runbook has it: one migrator, and two versions on one schema for a while."""

import io
import json
import re
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from signal import SIGTERM
from threading import Event

import httpx
import pytest

import gateway as package
from gateway.database.migrate import HEAD
from gateway.money import MICROS_PER_YUAN
from tests.servers.gateway import Gateway, describe
from tests.servers.process import wait_until
from tests.servers.redis import redis_server
from tests.servers.simulator import Simulator, simulator
from tests.servers.workers import SECRET, rows, standing

PACKAGE = Path(package.__file__).parent
WANTS = "gateway/database/migrate.py"
SCHEMA = "SELECT version_num FROM alembic_version"

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


def the_next_version(directory: Path) -> Path:
    """Make a version of the gateway that wants one more migration; return the directory to run it from."""
    shutil.copytree(PACKAGE, directory / "gateway", ignore=shutil.ignore_patterns("__pycache__"))
    (directory / "gateway/database/migrations/versions/9999_later.py").write_text(NEXT)
    wants = directory / WANTS
    changed, times = re.subn(r'^HEAD = ".+"$', 'HEAD = "9999"', wants.read_text(), flags=re.MULTILINE)
    assert times == 1
    wants.write_text(changed)
    return directory


def the_version_before(directory: Path) -> Path:
    """Take the newest version in the history whose schema is another one; return the directory to run it from.

    It runs with the libraries of this one. Without a history that goes so far back, the test is skipped.
    """
    since = "HEAD"
    for commit in history("log", "--format=%H", "--", WANTS).decode().split():
        if f'HEAD = "{HEAD}"'.encode() not in history("show", f"{commit}:{WANTS}"):
            archive = history("archive", since, "gateway")
            with tarfile.open(fileobj=io.BytesIO(archive)) as files:
                files.extractall(directory, filter="data")
            return directory
        since = f"{commit}^"
    pytest.skip("the history has no version with an earlier schema")


def history(*asked: str) -> bytes:
    """Ask git; skip the test where there is none, or no repository."""
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    done = subprocess.run(["git", "-C", str(PACKAGE.parent), *asked], capture_output=True, check=False, timeout=60)
    if done.returncode != 0:
        pytest.skip(f"there is no history to take an earlier version from: {done.stderr.decode().strip()}")
    return done.stdout


@dataclass(frozen=True, slots=True)
class Versions:
    """Two versions of the gateway, not started, and their upstream."""

    upstream: Simulator
    old: Gateway
    new: Gateway


@contextmanager
def versions(
    directory: Path, database_url: str, *, old: Path | None = None, new: Path | None = None
) -> Iterator[Versions]:
    """Describe both; each is the one in its directory, or the present one."""
    with redis_server() as redis, simulator(directory / "upstream") as upstream:
        shared = {
            "database_url": database_url,
            "redis_url": redis.url,
            "secret": SECRET,
            "storage_url": (directory / "images").as_uri(),
        }

        def described(name: str, version: Path | None) -> Gateway:
            one = describe(directory / name, upstream=upstream.url, keys=upstream.keys, **shared)
            if version is not None:  # not the package of the working directory
                one.environment |= {"PYTHONPATH": str(version), "PYTHONSAFEPATH": "1"}
            return one

        both = Versions(upstream, described("old", old), described("new", new))
        try:
            yield both
        finally:
            both.old.end()
            both.new.end()


def show_that_they_share(one: Gateway, other: Gateway, key: str, seed: int) -> None:
    """What one version generates is repeated, cached and served by the other."""
    once = {"Idempotency-Key": f"once-{seed}"}
    made = one.post(key, once, seed=seed)
    assert made.status_code == 200, made.text
    repeated = other.post(key, once, seed=seed)
    assert repeated.headers["Idempotent-Replayed"] == "true"
    assert repeated.headers["X-Generation-Id"] == made.headers["X-Generation-Id"]
    assert "hit" in other.post(key, seed=seed).headers["Cache-Status"]
    assert other.http.get(httpx.URL(made.json()["data"][0]["image"]).raw_path.decode()).status_code == 200


def ask_until(done: Event, gateway: Gateway, key: str) -> list[int]:
    """Ask for one image after another; return the statuses."""
    statuses = []
    while not done.is_set():
        statuses.append(gateway.post(key).status_code)
    return statuses


def upgrade_under_load(both: Versions) -> None:
    """Go by the steps of the runbook: nobody is refused, both versions serve on one schema, and the books agree.

    The old version starts no more on the new schema, and says why.
    """
    old, new, upstream = both.old, both.new, both.upstream
    assert old.cli("migrate").returncode == 0
    schema = rows(new, SCHEMA)
    old.begin()
    assert old.cli("tenant", "create", "team").returncode == 0
    key = old.cli("key", "create", "team").stdout.strip()
    done = Event()
    with ThreadPoolExecutor(4) as pool:
        asking = [pool.submit(ask_until, done, old, key)]
        try:
            assert new.cli("check-config").returncode == 0
            migrators = list(pool.map(lambda _: new.cli("migrate"), range(2)))
            assert [one.returncode for one in migrators] == [0, 0], [one.stderr for one in migrators]
            assert rows(new, SCHEMA) != schema
            new.begin()
            asking.append(pool.submit(ask_until, done, new, key))
            show_that_they_share(old, new, key, 1)
            show_that_they_share(new, old, key, 2)
        finally:
            done.set()
        statuses = [status for one in asking for status in one.result()]
        running = [pool.submit(old.post, key, prompt="[delay=2]") for _ in range(3)]
        wait_until(lambda: bool(upstream.stats()["open"] == len(running)), "the calls to be upstream")
        old.send(SIGTERM)
        assert new.post(key).status_code == 200
        statuses += [one.result().status_code for one in running]
    assert set(statuses) == {200}
    assert old.ended() == 0
    old.launch()
    assert old.ended() == 1
    assert "of a later version" in old.log
    assert old.cli("migrate").returncode == 1
    assert new.post(key).status_code == 200
    (spent,) = json.loads(new.cli("spend", "--by", "tenant", "--format", "json").stdout)["rows"]
    assert Decimal(spent["cost_yuan"]) == upstream.bill_total()
    assert standing(new, "team")["total"] == (int(upstream.bill_total() * MICROS_PER_YUAN), 0)
    assert len(upstream.bill()) == len(statuses) + 4
    print(f"{len(statuses)} generations while one version replaced the other")


@pytest.mark.full
def test_the_version_before_is_replaced_by_this_one(tmp_path: Path, postgres_url: str) -> None:
    """The newest version with an earlier schema is replaced by this one while it serves."""
    with versions(tmp_path, postgres_url, old=the_version_before(tmp_path / "before")) as both:
        upgrade_under_load(both)


@pytest.mark.full
def test_this_version_is_replaced_by_the_next_one(tmp_path: Path, postgres_url: str) -> None:
    """This version is replaced, while it serves, by one that wants one more migration."""
    with versions(tmp_path, postgres_url, new=the_next_version(tmp_path / "next")) as both:
        upgrade_under_load(both)
