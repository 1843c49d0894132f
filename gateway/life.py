"""One serving process's life: open, serve, and one of three ends.

1. *Drain* (SIGTERM): readiness turns 503 with the listener still open, new generations get 503, running ones finish
   (for upstream's time-out, the keeping of images and 15 s more at most), everything settles.
2. *Leave* (a worker that is replaced): the listener is closed at once, so that others take new connections; whatever
   comes in on open ones is still done, answered with `Connection: close`.
3. *Hurry* (a second signal): what still runs is cancelled and becomes `unknown`, durably.
"""

import asyncio
import contextlib
import gc
import socket
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import structlog
import uvicorn

from gateway.app import Gateway
from gateway.flow.keep import KEEP_SECONDS
from gateway.protocol import Protocol

GRACE_SECONDS = 15.0
"""For what is beside upstream and the keeping of images: reserving, settling, the last bytes to callers."""

LINGER_SECONDS = 5
KEEP_ALIVE_SECONDS = 20
POLL_SECONDS = 0.05
BACKLOG = 4096


class Server(uvicorn.Server):
    """uvicorn without its signal handlers: it stops when it is told to."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals alone."""
        yield


class Life:
    """Serves a gateway from a listening socket until told to stop."""

    def __init__(self, gateway: Gateway, listener: socket.socket) -> None:
        self._gateway = gateway
        self._listener = listener
        self._ending = asyncio.Event()
        self._hurrying = asyncio.Event()
        self._stopped = False
        self._leaving = False
        self._crashed = False
        self._log = structlog.get_logger("server")
        settings = gateway.settings
        self.server = Server(
            uvicorn.Config(
                gateway.edge,
                http=Protocol,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                proxy_headers=bool(settings.trusted_proxies),
                forwarded_allow_ips=list(settings.trusted_proxies),
                server_header=False,
                backlog=BACKLOG,
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=LINGER_SECONDS,
            )
        )

    def stop(self) -> None:
        """Drain and stop; asked a second time, hurry. One that leaves goes on leaving, but waits for no idle caller."""
        if self._stopped:
            self._hurrying.set()
        self._stopped = True
        self._ending.set()

    def leave(self) -> None:
        """Leave, for another process to take over."""
        self._leaving = not self._ending.is_set()
        self._ending.set()

    async def live(self, ready: Callable[[], None]) -> int:
        """Serve until stopped; return the exit status. `ready` is called once requests are taken."""
        async with self._gateway.opened(self._crash):
            _settle_memory()
            serving = asyncio.create_task(self.server.serve(sockets=[self._listener]))
            ending = asyncio.create_task(self._ending.wait())
            ready()
            await asyncio.wait({serving, ending}, return_when=asyncio.FIRST_COMPLETED)
            ending.cancel()
            self._log.info("leaving" if self._leaving else "draining")
            await self._unless_hurried(self._end())
            self.server.should_exit = True
            await serving
        self._log.info("stopped")
        return 1 if self._crashed else 0

    async def _end(self) -> None:
        """Finish what runs, by the deadline."""
        deadline = time.monotonic() + self._gateway.settings.upstream_timeout + KEEP_SECONDS + GRACE_SECONDS
        self._gateway.streams.closing = True
        if self._leaving:
            await self._empty(deadline)
        # Requests that only wait, for another process's generation say, are finished too; new ones are refused.
        waiting = set(self.server.server_state.tasks)
        if late := await self._gateway.supervisor.drain(deadline - time.monotonic()):
            self._log.error("generations cut off by the deadline are unknown now", generations=late)
        if waiting:
            await asyncio.wait(waiting, timeout=max(0.0, deadline - time.monotonic()))

    async def _empty(self, deadline: float) -> None:
        """Close the listener and wait until every connection is gone; idle ones go by their keep-alive time-out."""
        for server in self.server.servers:
            server.close()
        self._gateway.edge.closing = True
        connections = self.server.server_state.connections
        while connections and not self._stopped and time.monotonic() < deadline:  # noqa: ASYNC110 -- uvicorn has no event for it
            await asyncio.sleep(POLL_SECONDS)

    async def _unless_hurried(self, ending: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(ending)
        hurrying = asyncio.create_task(self._hurrying.wait())
        await asyncio.wait({task, hurrying}, return_when=asyncio.FIRST_COMPLETED)
        hurrying.cancel()
        if task.done():
            task.result()
            return
        task.cancel()
        await asyncio.wait([task])
        late = await self._gateway.supervisor.drain(0)
        self._log.error("generations cut off in a hurry are unknown now", generations=late)

    def _crash(self) -> None:
        self._crashed = True
        self._ending.set()


def _settle_memory() -> None:
    """Take what exists by now out of the garbage collector's rounds.

    Requests make many objects and few cycles: with the default thresholds the collector took a fifth of a busy core,
    most of it walking over modules and routes that never go away.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 10, 10)
