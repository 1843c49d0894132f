"""`gateway serve` as a process: with settings and a data directory of its own, and eyes for its ledger and metrics."""

import asyncio
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from ipaddress import IPv4Address
from itertools import count
from pathlib import Path
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from gateway.cli.access import administration, in_database
from gateway.clock import Millis
from gateway.data_dir import DATABASE, database_of
from gateway.database.migrate import upgrade
from gateway.settings import load
from tests.servers.described import described
from tests.servers.ports import free_port
from tests.servers.process import PATIENCE_SECONDS, Process

GENERATE = "/images/generate"
_ADDRESSES = count()


def elsewhere() -> tuple[str, str]:
    """Return a header by which a request comes from an address that no other one came from: failed keys are counted."""
    return "X-Forwarded-For", str(IPv4Address(0x0A00_0000 + next(_ADDRESSES)))


class Gateway(Process):
    """A running gateway."""

    def __init__(self, directory: Path, settings: Mapping[str, str]) -> None:
        self.port, self.metrics_port = free_port(), free_port()
        self.data_dir = directory / "data"
        given = {
            "GATEWAY_DATA_DIR": str(self.data_dir),
            "GATEWAY_PORT": str(self.port),
            "GATEWAY_METRICS_PORT": str(self.metrics_port),
            **settings,
        }
        super().__init__(["serve"], given, directory / "gateway.log", ready=f"{self.url}/readyz")
        hooks = {"response": [described]}
        self.http = httpx.Client(base_url=self.url, trust_env=False, timeout=60, event_hooks=hooks)

    @property
    def url(self) -> str:
        """Where it serves."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def database_path(self) -> Path:
        """The file of its embedded database."""
        return self.data_dir / DATABASE

    def migrate(self) -> None:
        """Bring a PostgreSQL to the schema, by what `migrate` calls, but in this process."""

        async def run() -> None:
            database = database_of(load(self.environment))
            try:
                await database.write(upgrade)
            finally:
                await database.close()

        asyncio.run(run())

    def cli(self, *arguments: str, **settings: str) -> "subprocess.CompletedProcess[str]":
        """Run a command with this gateway's settings, changed by those given."""
        return subprocess.run(
            [sys.executable, "-m", "gateway", *arguments],
            env={**self.environment, **settings},
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_SECONDS,
        )

    def tenant(self, name: str, **policy: object) -> str:
        """Make a tenant and return a key of it, by what `tenant create` and `key create` call, but in this process."""
        configured = load(self.environment)
        admin = administration(configured)
        in_database(lambda connection: admin.create_tenant(connection, name, policy), configured)
        return self.key(name)

    def key(self, tenant: str, *, expires_at: Millis | None = None) -> str:
        """Make another key of a tenant and return it."""
        configured = load(self.environment)
        admin = administration(configured)
        return in_database(lambda one: admin.create_key(one, tenant, expires_at=expires_at), configured)[1]

    def post(self, key: str, /, headers: Mapping[str, str] | None = None, **members: object) -> httpx.Response:
        """Ask for an image: of flux-2-pro, 64x64, unless the members say otherwise."""
        body: dict[str, object] = {"model": "flux-2-pro", "prompt": "p"} | members
        if body["model"] == "flux-2-pro" and "aspect_ratio" not in body:
            body = {"width": 64, "height": 64} | body
        sent = {"Authorization": f"Bearer {key}", **({} if headers is None else headers)}
        return self.http.post(GENERATE, json=body, headers=sent)

    def metrics(self) -> list[Sample]:
        """Return every sample of its metrics port."""
        with httpx.Client(trust_env=False, timeout=20) as client:
            text = client.get(f"http://127.0.0.1:{self.metrics_port}/metrics").raise_for_status().text
        return [sample for family in text_string_to_metric_families(text) for sample in family.samples]

    def metric(self, name: str, **labels: str) -> float:
        """Add up the samples of this name that have these labels."""
        return sum(
            sample.value for sample in self.metrics() if sample.name == name and labels.items() <= sample.labels.items()
        )

    def rows(self, query: str, *values: object) -> list[dict[str, Any]]:
        """Read the embedded database, without the gateway's help."""
        with closing(sqlite3.connect(f"file:{self.database_path}?mode=ro", uri=True)) as connection:
            connection.row_factory = sqlite3.Row
            return [dict(row) for row in connection.execute(query, values)]

    def generation(self, generation_id: str) -> dict[str, Any]:
        """Return a generation's row in the ledger."""
        (row,) = self.rows("SELECT * FROM generations WHERE id = ?", generation_id)
        return row

    def held(self) -> int:
        """Return what is held for all tenants, in micro-yuan."""
        (row,) = self.rows("SELECT coalesce(sum(held), 0) AS held FROM balances WHERE period = 'total'")
        return int(row["held"])

    def end(self) -> None:
        """Stop whatever it is doing."""
        self.http.close()
        self.kill()


@contextmanager
def gateway(directory: Path, *, upstream: str, keys: tuple[str, ...], **settings: str) -> Iterator[Gateway]:
    """Run a gateway until the block ends. `settings` are named without GATEWAY_, in lower case."""
    one = describe(directory, upstream=upstream, keys=keys, **settings)
    try:
        one.begin()
        yield one
    finally:
        one.end()


def describe(directory: Path, *, upstream: str, keys: tuple[str, ...], **settings: str) -> Gateway:
    """Return a gateway that is not started: `begin` and `end` do that."""
    directory.mkdir(parents=True, exist_ok=True)
    named = {
        "upstream_url": upstream,
        "upstream_api_keys": ",".join(keys),
        "fetch_allow": upstream.removeprefix("http://"),
        "trusted_proxies": "127.0.0.1",
        **settings,
    }
    return Gateway(directory, {f"GATEWAY_{name.upper()}": value for name, value in named.items()})
