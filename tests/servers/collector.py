"""A collector of traces: OTLP over HTTP as its specification has it, on a free loopback port."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span


class Collector:
    """What has arrived so far: the bodies as they came, and the spans in them."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.services: set[str] = set()
        self.spans: list[Span] = []
        self.url = ""

    def take(self, path: str, body: bytes) -> int:
        """Take what was posted; return the status to answer."""
        if path != "/v1/traces":
            return 404
        request = ExportTraceServiceRequest.FromString(body)
        self.bodies.append(body)
        for resource in request.resource_spans:
            self.services |= {
                one.value.string_value for one in resource.resource.attributes if one.key == "service.name"
            }
            self.spans += [span for scope in resource.scope_spans for span in scope.spans]
        return 200

    def named(self, name: str) -> list[Span]:
        """Return the spans of a name."""
        return [span for span in list(self.spans) if span.name == name]

    def trace_of(self, request_id: str) -> list[Span]:
        """Return the spans of the request with this id."""
        edges = [span for span in self.named("edge") if attributes(span)["gateway.request_id"] == request_id]
        return [span for span in list(self.spans) if edges and span.trace_id == edges[0].trace_id]


def attributes(span: Span) -> dict[str, str | int]:
    """Return a span's attributes."""
    return {one.key: getattr(one.value, str(one.value.WhichOneof("value"))) for one in span.attributes}


@contextmanager
def collector() -> Iterator[Collector]:
    """Run a collector until the block ends."""
    collected = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(collected.take(self.path, body))
            answer = ExportTraceServiceResponse().SerializeToString()
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    collected.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield collected
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
