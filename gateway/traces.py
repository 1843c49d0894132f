"""Traces over OTLP (OpenTelemetry), where an endpoint is configured; nothing imports this anywhere else.

A span says what, how long, and in which class of error it ended: never a text of one, a prompt or a key. Upstream is
told of no trace: whose request it is, is nobody's business there.
"""

import asyncio
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway import __version__
from gateway.api.edge import UNLOGGED, Edge
from gateway.api.pages import Pages, header_of

LAST_SECONDS = 3.0
"""What a process that ends waits for a collector to take its last spans."""

_TOLD = ("request_id", "tenant", "key", "model", "outcome", "generation", "cost_yuan", "cache")
"""What the edge's span says of what the log line does, after `gateway.`."""


class Traces:
    """The spans of one process, sent in batches by a thread of their own, as OpenTelemetry's variables say."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        """Prepare; nothing is contacted before there is a span."""
        name = {} if "OTEL_SERVICE_NAME" in environ else {SERVICE_NAME: "image-gateway"}
        resource = Resource.create({SERVICE_VERSION: __version__, **name})
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("gateway", __version__)
        self._propagator = TraceContextTextMapPropagator()

    @contextmanager
    def span(self, name: str) -> Iterator[None]:
        """Record a span within the current one."""
        with self._tracer.start_as_current_span(name, record_exception=False, set_status_on_exception=False) as span:
            try:
                yield
            except BaseException as error:
                span.set_status(StatusCode.ERROR, type(error).__name__)
                raise

    def edge(self, app: ASGIApp, pages: Pages, straight: Mapping[str, ASGIApp]) -> Edge:
        """Make an edge that records a span for every request that it logs."""
        return _TracedEdge(self, app, pages, straight)

    async def serve(self, edge: "_TracedEdge", scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request within a span, which belongs to the caller's if it names one."""
        sent = {name: value for name in ("traceparent", "tracestate") if (value := header_of(scope, name.encode()))}
        context = self._propagator.extract(sent)
        with self._tracer.start_as_current_span(
            "edge", context, SpanKind.SERVER, record_exception=False, set_status_on_exception=False
        ) as span:
            scope.setdefault("state", {})["trace_id"] = f"{span.get_span_context().trace_id:032x}"
            try:
                await edge.answer(scope, receive, send)
            finally:
                seen = scope["state"]["seen"]
                told = {f"gateway.{name}": seen[name] for name in _TOLD if seen.get(name) is not None}
                named = {"method": "http.request.method", "path": "url.path", "status": "http.response.status_code"}
                span.set_attributes(told | {attribute: seen[name] for name, attribute in named.items() if name in seen})
                if seen.get("status", 0) >= 500:  # noqa: PLR2004 -- RFC 9110 15.6
                    span.set_status(StatusCode.ERROR)

    async def close(self) -> None:
        """Send what is left; a collector that is away is not waited for."""
        last = threading.Thread(target=self._provider.shutdown, name="last spans", daemon=True)
        last.start()
        await asyncio.to_thread(last.join, LAST_SECONDS)


class _TracedEdge(Edge):
    def __init__(self, traces: Traces, app: ASGIApp, pages: Pages, straight: Mapping[str, ASGIApp]) -> None:
        super().__init__(app, pages, straight)
        self._traces = traces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] in UNLOGGED:
            await self.answer(scope, receive, send)
        else:
            await self._traces.serve(self, scope, receive, send)

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as an edge without traces does."""
        await super().__call__(scope, receive, send)
