"""The gateway under test: `gateway serve` as an operator runs it, one process, everything in a fresh data directory."""

import math
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import orjson

from gateway.data_dir import SECRET
from tests.bench.closed_loop import BODY
from tests.bench.processes import Running, answers, free_ports, get, running

# Far away, but there: what is measured includes looking at every limit and budget.
_LIMITED = ("requests-per-minute", "images-per-minute", "concurrency", "budget-day", "budget-month", "budget-total")
_LIMITS = tuple(word for option in _LIMITED for word in (f"--{option}", "1000000"))


@dataclass(frozen=True, slots=True)
class Template:
    """A data directory with two tenants, to be copied for each gateway; the key of each."""

    directory: Path
    secret: str = field(repr=False)
    limited_key: str = field(repr=False)
    unlimited_key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Gateway:
    """A running gateway."""

    process: Running
    port: int
    metrics_port: int
    data: Path
    key: str = field(repr=False)

    @property
    def url(self) -> str:
        """Its base URL."""
        return f"http://127.0.0.1:{self.port}"

    def generate(self, body: bytes = BODY) -> bytes:
        """Ask for one image and, if the reply has a link, follow it; return what the image is or the link leads to.

        Raises AssertionError for anything but a good reply.
        """
        connection = HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
            connection.request("POST", "/images/generate", body, headers)
            answer = connection.getresponse()
            body = answer.read()
            assert answer.status == 200, f"the gateway answered {answer.status}: {body[:300]!r}"
        finally:
            connection.close()
        image: str = orjson.loads(body)["data"][0]["image"]
        if not image.startswith(f"{self.url}/"):
            return image.encode()
        status, content = get(self.port, image.removeprefix(self.url))
        assert status == 200, f"the link led to {status}"
        return content

    def at_rest(self) -> bool:
        """Tell whether no generation is being worked on."""
        return self._metric(r"gateway_in_flight_generations (\S+)") == ["0.0"]

    def hits(self) -> int:
        """Return how many requests were answered from the cache."""
        return int(float(self._metric(r'gateway_requests_total\{[^}]*outcome="hit"[^}]*\} (\S+)')[0]))

    def stalls(self) -> "Stalls":
        """Read how late its event loop has been."""
        lines = self._metric(r'gateway_event_loop_stall_seconds_bucket\{le="([^"]+)"\} (\S+)')
        return Stalls({float(bound): float(count) for bound, count in lines})

    def _metric(self, line: str) -> list[Any]:
        text = get(self.metrics_port, "/metrics")[1].decode()
        found = re.findall(f"^{line}$", text, re.MULTILINE)
        if not found:
            raise RuntimeError(f"the gateway has no metric {line}")
        return found


@dataclass(frozen=True, slots=True)
class Stalls:
    """How often the event loop woke up at most so late: cumulative counts by their bound in seconds."""

    counts: Mapping[float, float]

    def longest_ms_since(self, earlier: "Stalls") -> float:
        """Return the least bound, in ms, that every wake-up after `earlier` kept; infinite if none did."""
        fresh = {bound: count - earlier.counts[bound] for bound, count in self.counts.items()}
        kept = [bound for bound, count in fresh.items() if count == fresh[math.inf]]
        return min(kept) * 1000


def prepare(directory: Path) -> Template:
    """Make a data directory with its tenants and their keys, by the commands that an operator uses."""

    def gateway(*arguments: str) -> str:
        command = [sys.executable, "-m", "gateway", *arguments]
        environ = {"GATEWAY_DATA_DIR": str(directory)}
        done = subprocess.run(command, env=environ, capture_output=True, check=False, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"gateway {' '.join(arguments)}: {done.stderr}")
        return done.stdout.strip()

    gateway("tenant", "create", "limited", *_LIMITS)
    gateway("tenant", "create", "unlimited")
    secret = (directory / SECRET).read_text(encoding="ascii").strip()
    return Template(directory, secret, gateway("key", "create", "limited"), gateway("key", "create", "unlimited"))


@contextmanager
def serving(
    template: Template,
    directory: Path,
    core: int,
    upstream_url: str,
    environ: Mapping[str, str],
    *,
    limited: bool = True,
) -> Iterator[Gateway]:
    """Run a gateway before an upstream until the block ends, then remove its data: the ledger is to be read within.

    `environ` holds the settings that make the difference between two scenarios; `limited` says which tenant asks.
    """
    data = directory / "data"
    shutil.copytree(template.directory, data)
    port, metrics_port = free_ports(2)
    settings = {
        "GATEWAY_DATA_DIR": str(data),
        "GATEWAY_UPSTREAM_URL": upstream_url,
        "GATEWAY_UPSTREAM_API_KEYS": "no-secret",
        "GATEWAY_PORT": str(port),
        "GATEWAY_METRICS_PORT": str(metrics_port),
        **environ,
    }
    command = (sys.executable, "-m", "gateway", "serve")
    try:
        with running(command, core, directory / "gateway.log", settings) as process:
            process.wait_for(lambda: answers(port, "/readyz"), "the gateway")
            key = template.limited_key if limited else template.unlimited_key
            yield Gateway(process, port, metrics_port, data, key)
    finally:
        shutil.rmtree(directory)
