"""The process: sockets, signals and the metrics port. One worker serves by itself; several have a parent.

SIGTERM or SIGINT drains and exits 0, a second one does not wait; see `life.py`. SIGHUP replaces workers one by one.
"""

import asyncio
import ctypes
import os
import signal
import socket
import threading
from collections.abc import Callable
from wsgiref.simple_server import WSGIServer

import structlog
import uvloop
from prometheus_client import CollectorRegistry, start_http_server

from gateway import data_dir
from gateway.app import Gateway, build
from gateway.errors import Misconfigured
from gateway.hidden import hidden_of
from gateway.life import BACKLOG, Life
from gateway.logs import configure
from gateway.parent import Parent
from gateway.settings import Settings

_M_ARENA_MAX = -8


def serve(settings: Settings) -> int:
    """Serve until told to stop; return the exit status. Raises Misconfigured before anything is listened on."""
    if faults := settings.faults_to_serve():
        raise Misconfigured(faults)
    data_dir.prepare(settings.data_dir)
    data_dir.lock(settings.data_dir)
    configure(settings.log_level, settings.log_format, hidden_of(settings))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        if settings.workers == 1:
            return runner.run(serve_alone(build(settings)))
        return runner.run(_serve_with_workers(settings))


async def serve_alone(gateway: Gateway, ready: Callable[[], None] | None = None) -> int:
    """Serve a gateway on this loop, with its metrics port, until a signal; return the exit status.

    Raises Misconfigured if a port cannot be had. `ready` is called once requests are taken.
    """
    _use_one_arena()
    settings, log = gateway.settings, structlog.get_logger("server")
    life = Life(gateway, listen(settings))
    metrics_server, metrics_thread = serve_metrics(settings, gateway.metrics.registry)

    def say() -> None:
        log.info("serving", host=settings.host, port=settings.port, links=settings.link_base)
        if ready is not None:
            ready()

    _handle(signal.SIGTERM, life.stop)
    _handle(signal.SIGINT, life.stop)
    _handle(signal.SIGHUP, lambda: log.warning("SIGHUP is ignored: there is one worker, and none to take over from it"))
    try:
        return await life.live(say)
    finally:
        metrics_server.shutdown()
        metrics_thread.join()


def work(settings: Settings, listener: int, ready: int, alive: int) -> int:
    """Serve as a worker, from the parent's listening socket.

    A byte goes to `ready` once requests are taken; the end of `alive` says that the parent is gone, and is heeded like
    SIGTERM: nobody else would ever stop the worker.
    """
    _use_one_arena()
    configure(settings.log_level, settings.log_format, hidden_of(settings))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_work(settings, listener, ready, alive))


async def _work(settings: Settings, listener: int, ready: int, alive: int) -> int:
    life = Life(build(settings), socket.socket(fileno=listener))
    _handle(signal.SIGTERM, life.stop)
    _handle(signal.SIGUSR1, life.leave)
    _handle(signal.SIGINT, lambda: None)  # a terminal sends it to the whole group; the parent says what to do

    loop = asyncio.get_running_loop()

    def say() -> None:
        os.write(ready, b".")
        os.close(ready)

    def orphaned() -> None:
        loop.remove_reader(alive)
        life.stop()

    loop.add_reader(alive, orphaned)
    return await life.live(say)


async def _serve_with_workers(settings: Settings) -> int:
    parent = Parent(settings.workers, listen(settings))
    registry = CollectorRegistry()
    parent.metrics.register(registry)
    metrics_server, metrics_thread = serve_metrics(settings, registry)
    _handle(signal.SIGTERM, parent.stop)
    _handle(signal.SIGINT, parent.stop)
    _handle(signal.SIGHUP, parent.replace)
    try:
        return await parent.run()
    finally:
        metrics_server.shutdown()
        metrics_thread.join()


def listen(settings: Settings) -> socket.socket:
    """Open the listening socket. Raises Misconfigured if it cannot be had."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return socket.create_server((settings.host, settings.port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise Misconfigured([f"GATEWAY_PORT: cannot listen on {settings.host}:{settings.port}: {error}"]) from error


def serve_metrics(settings: Settings, registry: CollectorRegistry) -> tuple[WSGIServer, threading.Thread]:
    """Serve the metrics on their own port, from a thread of their own. Raises Misconfigured."""
    try:
        return start_http_server(settings.metrics_port, settings.metrics_host, registry)
    except OSError as error:
        where = f"{settings.metrics_host}:{settings.metrics_port}"
        raise Misconfigured([f"GATEWAY_METRICS_PORT: cannot listen on {where}: {error}"]) from error


def _use_one_arena() -> None:
    """Have glibc's malloc keep one arena (mallopt(3), M_ARENA_MAX) rather than up to eight a core.

    Images are decoded in one thread and freed in another; with an arena each, what is free in one is of no use to the
    others. 32 replies of 2 MB at once peaked at 226 MB instead of 213, and took a tenth more of the processor.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:  # other C libraries have other ways; what a preloaded one makes of it is its own matter
        mallopt(_M_ARENA_MAX, 1)


def _handle(number: signal.Signals, what: Callable[[], None]) -> None:
    asyncio.get_running_loop().add_signal_handler(number, what)
