"""`gateway simulate-upstream` as a process: the other side of the gateway, and the oracle of its bill."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx

from gateway.money import MICROS_PER_YUAN
from gateway.simulator import BillLine, read_bill
from tests.servers.ports import free_port
from tests.servers.process import Process

UPSTREAM_KEY = "upstream-key-4f1c9a70d2b3"


class Simulator(Process):
    """A running simulator. Its bill is a file that only it writes, and that outlives it."""

    def __init__(self, directory: Path, keys: tuple[str, ...], options: tuple[str, ...]) -> None:
        self.port = free_port()
        self.keys = keys
        self.bill_path = directory / "bill.jsonl"
        self._faults_path = directory / "faults.json"
        super().__init__(
            [
                "simulate-upstream",
                *("--port", str(self.port)),
                *(part for key in keys for part in ("--key", key)),
                *("--bill", str(self.bill_path), "--faults", str(self._faults_path)),
                *options,
            ],
            {},
            directory / "simulator.log",
            ready=f"{self.url}/simulator/stats",
        )
        self._http = httpx.Client(base_url=self.url, trust_env=False, timeout=20)

    @property
    def url(self) -> str:
        """Where it serves."""
        return f"http://{self.host}"

    @property
    def host(self) -> str:
        """Its host and port."""
        return f"127.0.0.1:{self.port}"

    def bill(self) -> list[BillLine]:
        """Return what it billed, oldest first."""
        return read_bill(self.bill_path)

    def bill_total(self) -> Decimal:
        """Return the sum of the bill in yuan."""
        return Decimal(sum(line.cost for line in self.bill())) / MICROS_PER_YUAN

    def stats(self) -> dict[str, Any]:
        """Return its counts."""
        found: dict[str, Any] = self._http.get("/simulator/stats").json()
        return found

    def calls(self) -> list[dict[str, Any]]:
        """Return what its last calls sent: `account` and `body`."""
        found: list[dict[str, Any]] = self._http.get("/simulator/calls").json()["calls"]
        return found

    def go_wrong(self, *rules: dict[str, Any]) -> None:
        """Go wrong by these rules from now on; by none, if none are given."""
        self._faults_path.write_text(json.dumps(rules))

    def end(self) -> None:
        """Stop whatever it is doing."""
        self._http.close()
        self.kill()


@contextmanager
def simulator(directory: Path, *options: str, keys: tuple[str, ...] = (UPSTREAM_KEY,)) -> Iterator[Simulator]:
    """Run a simulator until the block ends; pictures are tiny, but each has bytes of its own."""
    with launched(directory, *options, keys=keys) as one:
        one.await_ready()
        yield one


@contextmanager
def launched(directory: Path, *options: str, keys: tuple[str, ...] = (UPSTREAM_KEY,)) -> Iterator[Simulator]:
    """Do the same, but leave it to the block to await that it is ready: a gateway can start meanwhile."""
    directory.mkdir(parents=True, exist_ok=True)
    one = Simulator(directory, keys, ("--image", "tiny", *options))
    try:
        one.launch()
        yield one
    finally:
        one.end()
