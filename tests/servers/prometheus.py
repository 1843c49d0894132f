"""A real Prometheus on a free loopback port, with the configuration and the rules that are shipped."""

import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

from tests.servers.ports import free_port
from tests.servers.process import PATIENCE_SECONDS, wait_until

SHIPPED = Path(__file__).parents[2] / "deploy" / "prometheus"


@dataclass(frozen=True, slots=True)
class Series:
    """What a query found: the labels of a series and its points, (seconds since 1970, value), oldest first."""

    labels: dict[str, str]
    points: list[tuple[float, float]]

    @property
    def value(self) -> float:
        """Its last value."""
        return self.points[-1][1]


class Prometheus:
    """A running Prometheus."""

    def __init__(self, port: int) -> None:
        self._http = httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=20)

    def now(self, expression: str) -> list[Series]:
        """Return what an expression is now. Raises httpx.HTTPStatusError, with the reason, for one that is faulty."""
        found = self._get("query", query=expression)
        if found["resultType"] == "scalar":
            return [Series({}, [_point(found["result"])])]
        return [Series(one["metric"], [_point(one["value"])]) for one in found["result"]]

    def between(self, expression: str, start: float, end: float, step: float) -> list[Series]:
        """Return what an expression was, every `step` seconds from `start` to `end` (seconds since 1970)."""
        found = self._get("query_range", query=expression, start=start, end=end, step=step)
        return [Series(one["metric"], [_point(point) for point in one["values"]]) for one in found["result"]]

    def rules(self) -> list[dict[str, Any]]:
        """Return every rule with its state."""
        return [rule for group in self._get("rules")["groups"] for rule in group["rules"]]

    def targets(self) -> list[dict[str, Any]]:
        """Return what it scrapes, with the state of each."""
        found: list[dict[str, Any]] = self._get("targets")["activeTargets"]
        return found

    def ready(self) -> bool:
        """Whether it answers."""
        try:
            return self._http.get("/-/ready").is_success
        except httpx.TransportError:
            return False

    def close(self) -> None:
        """Close the connections to it."""
        self._http.close()

    def _get(self, what: str, **parameters: str | float) -> Any:
        answer = self._http.get(f"/api/v1/{what}", params=parameters)
        assert answer.is_success, f"{parameters}: {answer.text}"
        return answer.json()["data"]


def _point(pair: list[Any]) -> tuple[float, float]:
    return float(pair[0]), float(pair[1])


@contextmanager
def prometheus(targets: Sequence[str], *, interval: str = "1s") -> Iterator[Prometheus]:
    """Run one until the block ends. It scrapes these targets so often, as the job of the shipped configuration."""
    program = shutil.which("prometheus")
    assert program is not None, "prometheus is not installed: run deploy/test-tools.sh"
    with tempfile.TemporaryDirectory(prefix="gateway-prometheus-") as folder:
        directory, port = Path(folder), free_port()
        shutil.copytree(SHIPPED, directory, dirs_exist_ok=True)
        (directory / "prometheus.yml").write_text(yaml.safe_dump(_aimed(list(targets), interval)))
        with (directory / "log").open("wb") as log:
            process = subprocess.Popen(
                [
                    program,
                    f"--config.file={directory / 'prometheus.yml'}",
                    f"--storage.tsdb.path={directory / 'data'}",
                    f"--web.listen-address=127.0.0.1:{port}",
                ],
                stdout=log,
                stderr=log,
            )
        one = Prometheus(port)
        try:
            wait_until(lambda: process.poll() is not None or one.ready(), "Prometheus to be ready")
            assert process.poll() is None, (directory / "log").read_text()[-3000:]
            yield one
        finally:
            one.close()
            process.terminate()
            process.wait(PATIENCE_SECONDS)


def _aimed(targets: list[str], interval: str) -> Any:
    """Return the shipped configuration, changed in nothing but how often it looks and where it finds the gateway."""
    config = yaml.safe_load((SHIPPED / "prometheus.yml").read_text())
    config["global"] |= {"scrape_interval": interval, "evaluation_interval": interval}
    (job,) = config["scrape_configs"]
    del job["dns_sd_configs"]
    job["static_configs"] = [{"targets": targets}]
    return config
