"""What is measured in a closed loop, and at rest. Every run has a fresh gateway, and its ledger is read afterwards.

`pass`: nothing is kept, the reply goes through; what is left is keys, limits and the durable ledger.
`unlimited`: the same for a tenant without rates, concurrency and budget: what limits cost is the difference.
`fetch`: a small image is fetched by upstream's link, kept in a local directory, answered by our link.
`cached`: every request but the first is answered from the cache in Redis: what a hit costs.
`counted`: the same for a tenant with limits: the limiter's script goes with the look in one trip.
`decode`: an image of 2 MB of Base64 is decoded, hashed, kept, answered by our link.
`bucket`: the same with the image kept in a bucket of SeaweedFS.
Beside them, under the same load: calls straight to upstream, and an nginx reverse proxy on the gateway's core.
"""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench import ledger, nginx
from tests.bench.closed_loop import BODY, SEEDED_BODY, press
from tests.bench.figures import Idle, Pressed
from tests.bench.gateway import Gateway, Template, serving
from tests.bench.meter import Meter
from tests.bench.nginx import Nginx, Replied
from tests.bench.processes import Cores
from tests.bench.redis import redis
from tests.servers.seaweedfs import seaweedfs


@dataclass(frozen=True, slots=True)
class Scenario:
    """What upstream answers, whether the gateway keeps it, and how many requests of upstream make a generation.

    `bucket` says whether it is kept in SeaweedFS, on the core of the load, rather than in a local directory.
    `limited` says whether the tenant has limits and budgets: far away, but they are looked at. `cached` says whether
    the request is one that the cache answers.
    """

    title: str
    replied: Replied
    keeps: bool = True
    bucket: bool = False
    requests_upstream: int = 1
    limited: bool = True
    cached: bool = False

    @property
    def body(self) -> bytes:
        """The request."""
        return SEEDED_BODY if self.cached else BODY


SCENARIOS = {
    "pass": Scenario("pass on", "link", keeps=False),
    "unlimited": Scenario("pass on, no limits", "link", keeps=False, limited=False),
    "fetch": Scenario("fetch and keep", "link", requests_upstream=2),
    "cached": Scenario("cached hit", "link", requests_upstream=2, cached=True, limited=False),
    "counted": Scenario("cached hit, limits", "link", requests_upstream=2, cached=True),
    "decode": Scenario("decode and keep", "base64"),
    "bucket": Scenario("decode and keep in S3", "base64", bucket=True),
}


@dataclass(frozen=True, slots=True)
class Bench:
    """Where it is measured, for how long and over how many connections, and what stands ready for it."""

    directory: Path
    cores: Cores
    seconds: int
    connections: Sequence[int]
    template: Template
    upstream: Nginx
    proxy: Nginx

    def yardsticks(self, replied: Replied) -> Iterator[Pressed]:
        """Measure upstream alone, then with nginx before it."""
        title = f"{replied} reply"
        for connections in self.connections:
            load = press(self.upstream.url(replied), "none", connections, self.seconds, self.cores.others)
            yield Pressed(title, "direct", replied, connections, load)
        for connections in self.connections:
            meter = Meter(self.proxy.process, self.cores.measured)
            load = press(self.proxy.url(replied), "none", connections, self.seconds, self.cores.others)
            yield Pressed(title, "nginx", replied, connections, load, meter.read(load.requests))

    def scenario(self, scenario: Scenario) -> Iterator[Pressed]:
        """Measure the gateway before upstream."""
        for connections in self.connections:
            yield self._press(scenario, connections)

    def idle(self) -> Idle:
        """Measure the memory of a gateway that has nothing to do."""
        with self._serving(SCENARIOS["fetch"]) as gateway:
            started = gateway.process.resident_mb()
            gateway.generate()
            return Idle(started, gateway.process.resident_mb())

    def _press(self, scenario: Scenario, connections: int) -> Pressed:
        with self._serving(scenario) as gateway:
            asked = self.upstream.asked()
            self._look(scenario, gateway.generate(scenario.body))
            stalls, meter = gateway.stalls(), Meter(gateway.process, self.cores.measured)
            load = press(gateway.url, gateway.key, connections, self.seconds, self.cores.others, body=scenario.body)
            # The load has left without its last answers; their generations go on, and are in the CPU time.
            gateway.process.wait_for(gateway.at_rest, "the gateway's coming to rest")
            made = (self.upstream.asked() - asked - 1) // scenario.requests_upstream  # less this question itself
            hits = gateway.hits() if scenario.cached else 0
            used = meter.read(made - 1 + hits, gateway.stalls().longest_ms_since(stalls))
            status = gateway.process.stop()
            made = (self.upstream.asked() - asked - 2) // scenario.requests_upstream  # now it is final
            faults = ledger.read(gateway.data).faults(made, load.requests - load.errors - hits)
        if status != 0:
            faults = (*faults, f"the gateway's exit status is {status}")
        return Pressed(scenario.title, "gateway", scenario.replied, connections, load, used, faults)

    def _look(self, scenario: Scenario, image: bytes) -> None:
        """See that the gateway does what the scenario says before it is measured. Raises RuntimeError."""
        if not scenario.keeps:
            expected = self.upstream.image_url.encode()
        else:
            expected = nginx.noise(nginx.SMALL_SIDE if scenario.replied == "link" else nginx.LARGE_SIDE)
        if image != expected:
            raise RuntimeError(f"{scenario.title}: the reply does not lead to upstream's image")

    @contextmanager
    def _serving(self, scenario: Scenario) -> Iterator[Gateway]:
        settings = {"GATEWAY_STORAGE_URL": "none"}
        if scenario.keeps:
            settings = {"GATEWAY_FETCH_ALLOW": f"127.0.0.1:{self.upstream.ports['link']}"}
        upstream = self.upstream.url(scenario.replied)
        directory, core = self.directory / "gateway", self.cores.measured
        with ExitStack() as stack:
            if scenario.cached:
                # The default, in the process, would be faster; what is measured is what several workers share.
                url = stack.enter_context(redis(self.directory / "redis", self.cores.others))
                settings |= {"GATEWAY_REDIS_URL": url, "GATEWAY_SECRET": self.template.secret}
            if scenario.bucket:
                (files := self.directory / "seaweedfs").mkdir()
                s3 = stack.enter_context(seaweedfs(files))
                settings |= {"GATEWAY_STORAGE_URL": f"s3://{s3.bucket}", **s3.environ}
            served = serving(self.template, directory, core, upstream, settings, limited=scenario.limited)
            yield stack.enter_context(served)
        for server in ("redis", "seaweedfs"):
            shutil.rmtree(self.directory / server, ignore_errors=True)
