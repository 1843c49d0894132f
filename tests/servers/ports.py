"""Ports of the loopback address for servers that are about to start."""

import itertools
import os
import socket
from collections.abc import Iterator

_FIRST, _LAST = 12_000, 22_000
"""Below those that the kernel gives to whoever connects or listens anywhere."""

_BUS = 10_000
"""How far above its own port a Redis of a cluster has another one."""


def free_port() -> int:
    """Return a port on which nobody listens now.

    It is given once, and to one of the processes that run tests side by side: whoever asked has time to listen on it.
    """
    return next(port for port in _mine if _is_free(port) and _is_free(port + _BUS))


def _ports_of_this_process() -> Iterator[int]:
    place = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    ports = range(_FIRST + place, _LAST, int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")))
    begin = os.getpid() * 7919 % len(ports)  # elsewhere than another run of the tests on this machine
    return itertools.cycle((*ports[begin:], *ports[:begin]))


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


_mine = _ports_of_this_process()
