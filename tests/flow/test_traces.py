"""A request's spans reach a collector, if one is configured; if not, nothing of OpenTelemetry is even there."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from tests.servers.collector import Collector, attributes, collector
from tests.servers.gateway import describe
from tests.servers.pair import Pair
from tests.servers.ports import free_port
from tests.servers.process import wait_until
from tests.servers.simulator import UPSTREAM_KEY, launched

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
STEPS = ["limits", "limits", "reserve", "upstream", "keep", "settle"]


@contextmanager
def traced(directory: Path, endpoint: str, **variables: str) -> Iterator[Pair]:
    """Run a pair whose gateway sends its traces there."""
    with launched(directory / "upstream") as upstream:
        serving = describe(directory / "gateway", upstream=upstream.url, keys=(UPSTREAM_KEY,))
        serving.environment |= {
            "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
            "OTEL_BSP_SCHEDULE_DELAY": "100",
            **variables,
        }
        try:
            serving.begin()
            upstream.await_ready()
            yield Pair(serving, upstream, serving.tenant("team"))
        finally:
            serving.end()


@pytest.fixture(scope="module")
def collected() -> Iterator[Collector]:
    """Give a collector."""
    with collector() as one:
        yield one


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory, collected: Collector) -> Iterator[Pair]:
    """Give a pair that sends its traces there."""
    with traced(tmp_path_factory.mktemp("traced"), collected.url) as pair:
        yield pair


def test_a_generation_is_a_trace(both: Pair, collected: Collector) -> None:
    """Each step is a span within the edge's, which is a child of the caller's; the log names the same trace."""
    answer = both.post("a lake", {"traceparent": f"00-{TRACE}-{PARENT}-01"})
    request_id = answer.headers["x-request-id"]
    wait_until(lambda: len(collected.trace_of(request_id)) == len(STEPS) + 1, "the spans")
    spans = collected.trace_of(request_id)
    (edge,) = (span for span in spans if span.name == "edge")
    steps = sorted((span for span in spans if span is not edge), key=lambda span: span.start_time_unix_nano)
    assert [span.name for span in steps] == STEPS
    assert {span.parent_span_id for span in steps} == {edge.span_id}
    assert (edge.trace_id.hex(), edge.parent_span_id.hex()) == (TRACE, PARENT)
    assert collected.services == {"image-gateway"}
    told = attributes(edge)
    assert told.keys() == {
        *("http.request.method", "http.response.status_code", "url.path", "gateway.cache", "gateway.cost_yuan"),
        *(f"gateway.{name}" for name in ("request_id", "tenant", "key", "model", "outcome", "generation")),
    }
    assert (told["gateway.outcome"], told["http.response.status_code"]) == ("generated", 200)
    assert f'"trace_id":"{TRACE}"' in both.gateway.log
    assert TRACE not in str(both.simulator.calls())


def test_what_fails_says_in_which_class_of_error(both: Pair, collected: Collector) -> None:
    """A span that ends in an error names its class and no text; without a caller's trace there is one of our own."""
    limited = both.gateway.tenant("limited", requests_per_minute=1)
    _, refused = both.gateway.post(limited), both.gateway.post(limited, prompt="a secret wish")
    assert refused.status_code == 429
    request_id = refused.headers["x-request-id"]
    wait_until(lambda: len(collected.trace_of(request_id)) == 2, "the spans")
    spans = {span.name: span for span in collected.trace_of(request_id)}
    assert spans["edge"].parent_span_id == b""
    assert f'"trace_id":"{spans["edge"].trace_id.hex()}"' in both.gateway.log
    assert (spans["limits"].status.code, spans["limits"].status.message) == (Status.STATUS_CODE_ERROR, "RateLimited")
    silent = both.post("cut [cut]")
    wait_until(lambda: bool(collected.trace_of(silent.headers["x-request-id"])), "the spans")
    ended = {span.name: span.status.code for span in collected.trace_of(silent.headers["x-request-id"])}
    assert ended["edge"] == Status.STATUS_CODE_ERROR
    sent = b"".join(collected.bodies)
    assert b"a secret wish" not in sent
    assert both.key.encode() not in sent


def test_health_is_in_no_trace(both: Pair, collected: Collector) -> None:
    """Probes are not recorded."""
    for path in ("/livez", "/readyz", "/models"):
        both.gateway.http.get(path)
    wait_until(lambda: any(attributes(span)["url.path"] == "/models" for span in collected.named("edge")), "a span")
    assert not [span for span in collected.named("edge") if attributes(span)["url.path"] in ("/livez", "/readyz")]


@pytest.mark.full
def test_a_collector_that_is_away_costs_no_request(tmp_path: Path) -> None:
    """Requests are answered as ever, and stopping waits a few seconds at the most for what cannot be sent."""
    with traced(tmp_path, f"http://127.0.0.1:{free_port()}") as both:
        assert [both.post(f"p {number}").status_code for number in range(5)] == [200] * 5
        begun = time.monotonic()
        assert both.gateway.stop() == 0
        assert time.monotonic() - begun < 10


IMPORTED = """
import sys
from gateway.app import build
from gateway.settings import load
import os
build(load(os.environ))
extra = ("opentelemetry.sdk.trace", "opentelemetry.exporter", "opentelemetry.proto", "google.protobuf", "requests")
print(sorted(name for name in sys.modules if name.startswith(extra)))
"""


@pytest.mark.parametrize("variables", [{}, {"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://h"}])
def test_without_an_endpoint_nothing_of_it_is_imported(tmp_path: Path, variables: dict[str, str]) -> None:
    """A plain install, which has not even the packages, serves; some, if there, are taken along by redis-py."""
    environ = {"PATH": os.environ["PATH"], "GATEWAY_DATA_DIR": str(tmp_path), **variables}
    done = subprocess.run(
        [sys.executable, "-c", IMPORTED], env=environ, capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_another_protocol_is_refused(both: Pair) -> None:
    """What cannot be spoken is said before anything is listened on."""
    variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}
    done = both.gateway.cli("serve", **variables)
    assert done.returncode != 0
    assert "OTEL_EXPORTER_OTLP_PROTOCOL: must be http/protobuf" in done.stderr
