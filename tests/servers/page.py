"""The sample page, served by its own backend from an origin of its own."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from gateway.life import Server
from gateway.sample import backend
from tests.servers.process import wait_until


@contextmanager
def served(gateway: str, key: str, port: int, origin: str | None = None) -> Iterator[str]:
    """Serve the page until the block ends; yield where. It asks for tokens of `origin`, its own unless given."""
    own = f"http://127.0.0.1:{port}"
    application = backend(gateway, key, own if origin is None else origin)
    server = Server(uvicorn.Config(application, "127.0.0.1", port, lifespan="off", log_config=None))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()))
    thread.start()
    try:
        wait_until(lambda: server.started or not thread.is_alive(), "the page's backend")
        yield own
    finally:
        server.should_exit = True
        thread.join()
