"""Serving a simulated upstream over HTTP."""

import contextlib
import socket

import uvicorn

from gateway.simulator.app import Simulator
from gateway.simulator.config import SimulatorConfig
from gateway.simulator.connection import CuttableProtocol

_GRACE_SECONDS = 10


class SimulatorServer(uvicorn.Server):
    """uvicorn's server; when it stops it first ends the calls that wait on purpose."""

    def __init__(self, config: uvicorn.Config, simulator: Simulator) -> None:
        """Serve what `config` says."""
        super().__init__(config)
        self._simulator = simulator

    @property
    def port(self) -> int:
        """The port that is listened on, once `started` is true: useful when port 0 was asked for."""
        return int(self.servers[0].sockets[0].getsockname()[1])

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop."""
        self._simulator.let_go()
        await super().shutdown(sockets)


def server(config: SimulatorConfig, host: str, port: int) -> SimulatorServer:
    """Make a server that is not running yet: `await server.serve()`, or `run()`; `should_exit = True` stops it.

    Port 0 takes a free one. Raises InvalidFault or OSError for files that cannot be used.
    """
    simulator = Simulator(config)
    return SimulatorServer(
        uvicorn.Config(
            simulator.application(),
            host=host,
            port=port,
            http=CuttableProtocol,
            ws="none",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            backlog=16_384,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=_GRACE_SECONDS,
        ),
        simulator,
    )


def run(config: SimulatorConfig, host: str, port: int) -> None:
    """Serve until interrupted.

    Raises InvalidFault or OSError for files that cannot be used; SystemExit if the port is taken.
    """
    with contextlib.suppress(KeyboardInterrupt):  # how it is stopped at a terminal, after a graceful shutdown
        server(config, host, port).run()
