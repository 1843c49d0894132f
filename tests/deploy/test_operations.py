"""What operators do, by the very commands of the runbook: back up, restore, replace keys and secrets."""

import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from signal import SIGHUP
from threading import Event

import httpx
import pytest

from tests.servers.gateway import Gateway, describe
from tests.servers.pair import pair
from tests.servers.postgres import Postgres
from tests.servers.process import wait_until
from tests.servers.redis import redis_server
from tests.servers.simulator import simulator
from tests.servers.workers import SECRET, standing

RUNBOOK = (Path(__file__).parents[2] / "deploy" / "RUNBOOK.md").read_text()
ONCE = {"Idempotency-Key": "paid-before-the-backup"}


def do(heading: str, gateway: Gateway, *, step: int = 0, **variables: str | Path) -> str:
    """Run the commands of a step that stands under a heading of the runbook; return what they print."""
    section = RUNBOOK.split(f"\n### {heading}\n")[1].split("\n### ")[0]
    commands = re.findall(r"^```sh\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)[step]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands],
        env={**gateway.environment, "PATH": path, **{name: str(value) for name, value in variables.items()}},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def back_up_under_load(heading: str, gateway: Gateway, key: str, backup: Path) -> list[int]:
    """Back up while callers ask for one image after another; return the statuses that they got."""
    backup.mkdir(mode=0o700)
    done = Event()

    def ask() -> list[int]:
        statuses = []
        while not done.is_set():
            statuses.append(gateway.post(key).status_code)
        return statuses

    with ThreadPoolExecutor(4) as pool:
        asking = [pool.submit(ask) for _ in range(4)]
        try:
            do(heading, gateway, BACKUP=backup)
        finally:
            done.set()
        return [status for one in asking for status in one.result()]


def show_that_it_is_the_same(restored: Gateway, key: str, before: httpx.Response) -> None:
    """Keys, links, repeats and books are those of the moment of the backup."""
    link = httpx.URL(before.json()["data"][0]["image"])
    assert restored.http.get(link.raw_path.decode()).status_code == 200
    repeat = restored.post(key, ONCE)
    assert repeat.headers["Idempotent-Replayed"] == "true"
    assert repeat.headers["X-Generation-Id"] == before.headers["X-Generation-Id"]
    assert restored.post(key).status_code == 200


def test_an_embedded_gateway_comes_back_from_its_backup(tmp_path: Path) -> None:
    """What was backed up under load serves again: key, link, repeat, every image that the ledger names, the sums."""
    backup = tmp_path / "backup"
    with pair(tmp_path / "lost") as lost:
        before = lost.post(headers=ONCE)
        statuses = back_up_under_load("Back up an embedded gateway", lost.gateway, lost.key, backup)
        assert set(statuses) == {200}
        shutil.rmtree(lost.gateway.data_dir / "images")  # the disk died
        lost.gateway.kill()
        restored = describe(tmp_path / "new", upstream=lost.simulator.url, keys=lost.simulator.keys)
        restored.data_dir.mkdir(mode=0o700)
        assert do("Restore an embedded gateway", restored, BACKUP=backup) == "ok\n"
        try:
            restored.begin()
            show_that_it_is_the_same(restored, lost.key, before)
            names = [row["name"] for row in restored.rows("SELECT name FROM images")]
            kept = {path.name for path in (restored.data_dir / "images").rglob("*.jpg")}
            assert {name.removeprefix("img_") for name in names} <= kept
            assert names
            (sums,) = restored.rows(
                "SELECT sum(cost) AS cost,"
                " sum(CASE WHEN state IN ('reserved', 'unknown') THEN quote ELSE 0 END) AS held FROM generations"
            )
            assert standing(restored, "team")["total"] == (sums["cost"], sums["held"])
            print(f"backed up under {len(statuses)} generations, {len(names)} images restored")
        finally:
            restored.end()


@pytest.mark.full
def test_a_gateway_on_postgresql_comes_back_from_its_backup(tmp_path: Path, postgres_server: Postgres) -> None:
    """A dump that was made under load, restored into an empty database, serves as if nothing had happened."""
    backup, directory = tmp_path / "backup", tmp_path / "gateway"
    databases = [postgres_server.create_database() for _ in range(2)]
    urls = [postgres_server.url(name) for name in databases]
    with simulator(tmp_path / "upstream") as upstream:
        shared = {"secret": SECRET, "storage_url": (tmp_path / "bucket").as_uri()}
        lost = describe(directory, upstream=upstream.url, keys=upstream.keys, database_url=urls[0], **shared)
        restored = describe(tmp_path / "new", upstream=upstream.url, keys=upstream.keys, database_url=urls[1], **shared)
        try:
            assert lost.cli("migrate").returncode == 0
            lost.begin()
            key = lost.tenant("team")
            before = lost.post(key, ONCE)
            statuses = back_up_under_load("Back up a gateway on PostgreSQL", lost, key, backup)
            assert set(statuses) == {200}
            lost.kill()
            postgres_server.drop_database(databases[0])
            restored.data_dir.mkdir(mode=0o700)
            do("Restore a gateway on PostgreSQL", restored, BACKUP=backup)
            restored.begin()
            show_that_it_is_the_same(restored, key, before)
        finally:
            lost.end()
            restored.end()
            postgres_server.drop_database(databases[1])


@pytest.mark.full
def test_keys_and_secret_are_replaced_while_it_serves(tmp_path: Path) -> None:
    """Upstream's key, the secret and a tenant's key are replaced with no request refused that should not be."""
    keys_file, secret_file = tmp_path / "keys", tmp_path / "secret"
    old, new = "upstream-key-old", "upstream-key-new"
    keys_file.write_text(old)
    secret_file.write_text(SECRET)
    with redis_server() as redis, simulator(tmp_path / "upstream", keys=(old, new)) as upstream:
        one = describe(tmp_path / "gateway", upstream=upstream.url, keys=(), workers="2", redis_url=redis.url)
        del one.environment["GATEWAY_UPSTREAM_API_KEYS"]
        one.environment |= {
            "GATEWAY_UPSTREAM_API_KEYS_FILE": str(keys_file),
            "GATEWAY_SECRET_FILE": str(secret_file),
        }
        try:
            one.begin()
            wait_until(lambda: '"event":"serving"' in one.log, "all workers to serve")
            key = one.tenant("team")
            link = httpx.URL(one.post(key).json()["data"][0]["image"]).raw_path.decode()
            pid = str(one.pid)

            do("Replace the upstream key", one, GATEWAY_PID=pid, NEW_KEY=new, OLD_KEY=old)
            wait_until(lambda: one.log.count("workers replaced") == 1, "the workers to be replaced")
            assert one.post(key).status_code == 200
            do("Replace the upstream key", one, step=1, GATEWAY_PID=pid, NEW_KEY=new)
            wait_until(lambda: one.log.count("workers replaced") == 2, "the workers to be replaced")
            assert one.post(key).status_code == 200
            assert upstream.calls()[-1]["account"] == str(upstream.keys.index(new))

            do("Replace the secret", one, GATEWAY_PID=pid, OLD_SECRET=SECRET)
            wait_until(lambda: one.log.count("workers replaced") == 3, "the workers to be replaced")
            assert one.post(key).status_code == 200
            assert one.http.get(link).status_code == 200
            (listed,) = one.rows("SELECT id FROM keys")
            successor = do("Replace a tenant's key", one, KEY_ID=listed["id"]).strip()
            assert one.post(successor).status_code == 200
            assert one.post(key).status_code == 200

            secret_file.write_text(secret_file.read_text().split(",")[0])
            one.send(SIGHUP)
            wait_until(lambda: one.log.count("workers replaced") == 4, "the workers to be replaced")
            assert one.post(successor).status_code == 200
            assert one.post(key).status_code == 401
            assert one.http.get(link).status_code == 403
        finally:
            one.end()
