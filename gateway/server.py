"""The process: sockets, signals, drain and the metrics port.

SIGTERM or SIGINT: readiness turns 503 with the listeners still open, new generations get 503, running ones finish (the
upstream time-out and 15 s more at most), everything settles, exit 0. A second signal does not wait any longer: what
still runs becomes `unknown`, durably.
"""

import asyncio
import contextlib
import gc
import signal
import socket
import threading
from collections.abc import Iterator
from wsgiref.simple_server import WSGIServer

import structlog
import uvicorn
import uvloop
from prometheus_client import start_http_server

from gateway import data_dir
from gateway.app import Gateway, build
from gateway.errors import Misconfigured
from gateway.logs import configure
from gateway.protocol import Protocol
from gateway.settings import Settings

GRACE_SECONDS = 15.0
LINGER_SECONDS = 5
KEEP_ALIVE_SECONDS = 20
BACKLOG = 4096


class Server(uvicorn.Server):
    """uvicorn without its signal handlers: it stops when it is told to."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals alone."""
        yield


def serve(settings: Settings) -> int:
    """Serve until told to stop; return the exit status. Raises Misconfigured before anything is listened on."""
    if faults := settings.faults_to_serve():
        raise Misconfigured(faults)
    configure(settings.log_level, settings.log_format)
    data_dir.prepare(settings.data_dir)
    data_dir.lock(settings.data_dir)
    gateway = build(settings)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(run(gateway))


async def run(gateway: Gateway) -> int:
    """Serve a gateway on this loop until a signal; return the exit status."""
    life = Life(gateway)
    handle_signals(life)
    return await life.live()


def handle_signals(life: "Life") -> None:
    """Let SIGTERM and SIGINT stop a life on this loop."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, life.stop)


class Life:
    """One process's life: open, serve, drain, close."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._stopping = asyncio.Event()
        self._hurrying = asyncio.Event()
        self._crashed = False
        self._log = structlog.get_logger("server")
        settings = gateway.settings
        self.server = Server(
            uvicorn.Config(
                gateway.app,
                host=settings.host,
                port=settings.port,
                http=Protocol,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                backlog=BACKLOG,
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=LINGER_SECONDS,
            )
        )

    def stop(self) -> None:
        """Drain and stop; asked a second time, do not wait for what runs."""
        if self._stopping.is_set():
            self._hurrying.set()
        self._stopping.set()

    async def live(self) -> int:
        """Serve until stopped."""
        settings = self._gateway.settings
        listener = _listen(settings)
        metrics_server, metrics_thread = _serve_metrics(settings, self._gateway)
        try:
            async with self._gateway.opened(self._crash):
                await self._serve(listener)
        finally:
            metrics_server.shutdown()
            metrics_thread.join()
        self._log.info("stopped")
        return 1 if self._crashed else 0

    async def _serve(self, listener: socket.socket) -> None:
        settings = self._gateway.settings
        _settle_memory()
        serving = asyncio.create_task(self.server.serve(sockets=[listener]))
        stopping = asyncio.create_task(self._stopping.wait())
        self._log.info("serving", host=settings.host, port=settings.port, links=settings.link_base)
        await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        await self._drain()
        self.server.should_exit = True
        await serving

    async def _drain(self) -> None:
        self._log.info("draining")
        seconds = self._gateway.settings.upstream_timeout + GRACE_SECONDS
        draining = asyncio.create_task(self._gateway.supervisor.drain(seconds))
        hurrying = asyncio.create_task(self._hurrying.wait())
        await asyncio.wait({draining, hurrying}, return_when=asyncio.FIRST_COMPLETED)
        hurrying.cancel()
        if not draining.done():
            draining.cancel()
            await self._gateway.supervisor.drain(0)

    def _crash(self) -> None:
        self._crashed = True
        self.stop()


def _settle_memory() -> None:
    """Take what exists by now out of the garbage collector's rounds.

    Requests make many objects and few cycles: with the default thresholds the collector took a fifth of a busy core,
    most of it walking over modules and routes that never go away.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 10, 10)


def _listen(settings: Settings) -> socket.socket:
    """Open the listening socket. Raises Misconfigured if it cannot be had."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return socket.create_server((settings.host, settings.port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise Misconfigured([f"GATEWAY_PORT: cannot listen on {settings.host}:{settings.port}: {error}"]) from error


def _serve_metrics(settings: Settings, gateway: Gateway) -> tuple[WSGIServer, threading.Thread]:
    """Serve the metrics on their own port, from a thread of their own. Raises Misconfigured."""
    try:
        return start_http_server(settings.metrics_port, settings.metrics_host, gateway.metrics.registry)
    except OSError as error:
        where = f"{settings.metrics_host}:{settings.metrics_port}"
        raise Misconfigured([f"GATEWAY_METRICS_PORT: cannot listen on {where}: {error}"]) from error
