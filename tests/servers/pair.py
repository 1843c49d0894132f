"""A gateway and its simulated upstream, both real processes, and what tests ask about the two together."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

import httpx

from gateway.money import MICROS_PER_YUAN
from tests.servers.gateway import Gateway, gateway
from tests.servers.simulator import UPSTREAM_KEY, Simulator, launched


@dataclass(frozen=True, slots=True)
class Pair:
    """The two, and the key of a tenant without limits."""

    gateway: Gateway
    simulator: Simulator
    key: str = field(repr=False)

    def post(self, prompt: str = "p", headers: Mapping[str, str] | None = None, **members: object) -> httpx.Response:
        """Ask for an image with the tenant's key."""
        return self.gateway.post(self.key, headers, prompt=prompt, **members)

    def state(self) -> tuple[int, int, int]:
        """Return how many generations there are, what is held (micro-yuan), how many calls upstream has seen."""
        (row,) = self.gateway.rows("SELECT count(*) AS generations FROM generations")
        return int(row["generations"]), self.gateway.held(), int(self.simulator.stats()["calls"])

    @contextmanager
    def untouched(self) -> Iterator[None]:
        """Show that what happens in the block reserves nothing, holds nothing and sends nothing."""
        before = self.state()
        yield
        assert self.state() == before

    def settled(self) -> Decimal:
        """Return what the ledger says was spent, in yuan."""
        (row,) = self.gateway.rows("SELECT coalesce(sum(cost), 0) AS cost FROM generations WHERE state = 'settled'")
        return Decimal(int(row["cost"])) / MICROS_PER_YUAN


@contextmanager
def pair(
    directory: Path, *simulator_options: str, keys: tuple[str, ...] = (UPSTREAM_KEY,), **settings: str
) -> Iterator[Pair]:
    """Run both until the block ends. `settings` are the gateway's, named without GATEWAY_, in lower case."""
    with (
        launched(directory / "upstream", *simulator_options, keys=keys) as upstream,
        gateway(directory / "gateway", upstream=upstream.url, keys=keys, **settings) as serving,
    ):
        upstream.await_ready()
        yield Pair(serving, upstream, serving.tenant("team"))
