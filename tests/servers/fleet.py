"""Several workers behind one port, with the stores of a large installation: PostgreSQL and Redis."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gateway.money import Micros
from tests.servers.gateway import Gateway, describe
from tests.servers.process import wait_until
from tests.servers.simulator import UPSTREAM_KEY, Simulator, launched
from tests.servers.workers import SECRET, rows, standing

_PAID = (
    "SELECT count(*) AS number FROM generations JOIN tenants ON tenants.id = tenant_id WHERE name = '{}' AND cost > 0"
)


@dataclass(frozen=True, slots=True)
class Fleet:
    """A gateway of so many workers, its simulated upstream, and the key of a tenant without limits."""

    gateway: Gateway
    simulator: Simulator
    key: str = field(repr=False)

    def rows(self, query: str) -> list[dict[str, Any]]:
        """Read the database, without the gateway's help."""
        return rows(self.gateway, query)

    def charged(self, tenant: str) -> tuple[int, Micros, Micros]:
        """Return how many generations a tenant paid for, what it spent, and what is held for it."""
        (paid,) = self.rows(_PAID.format(tenant))
        return (int(paid["number"]), *standing(self.gateway, tenant)["total"])

    def books(self) -> "Books":
        """Return how the ledger stands."""
        states = self.rows("SELECT state, count(*) AS number FROM generations WHERE quote > 0 GROUP BY state")
        (sums,) = self.rows(
            "SELECT (SELECT coalesce(sum(cost), 0) FROM generations WHERE state = 'settled') AS cost,"
            " (SELECT coalesce(sum(spent), 0) FROM balances WHERE period = 'total') AS spent,"
            " (SELECT coalesce(sum(held), 0) FROM balances WHERE period = 'total') AS held,"
            " (SELECT count(*) FROM images) AS images"
        )
        counted = {name: int(value) for name, value in sums.items()}
        return Books(states={row["state"]: row["number"] for row in states}, **counted)

    def billed(self) -> Micros:
        """Return what upstream has billed."""
        return sum(line.cost for line in self.simulator.bill())


@dataclass(frozen=True, slots=True)
class Books:
    """The ledger: how many generations are in which state (repeats that cost nothing left out), and the sums."""

    states: Mapping[str, int]
    cost: Micros
    spent: Micros
    held: Micros
    images: int


@contextmanager
def fleet(
    directory: Path,
    database_url: str,
    *simulator_options: str,
    keys: tuple[str, ...] = (UPSTREAM_KEY,),
    **settings: str,
) -> Iterator[Fleet]:
    """Run one until the block ends, on an empty PostgreSQL database. `settings` are as for `describe`."""
    shared = {"database_url": database_url, "secret": SECRET}
    with launched(directory / "upstream", *simulator_options, keys=keys) as upstream:
        serving = describe(directory / "gateway", upstream=upstream.url, keys=keys, **shared, **settings)
        try:
            serving.migrate()
            serving.begin()
            # The first worker answers while the others still start.
            wait_until(lambda: '"event":"serving"' in serving.log, "all workers to serve")
            upstream.await_ready()
            yield Fleet(serving, upstream, serving.tenant("team"))
        finally:
            serving.end()
