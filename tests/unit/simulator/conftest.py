"""A simulated upstream on a free port, and a client of it."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from decimal import Decimal
from typing import Any

import httpx
import pytest

from gateway.simulator import SimulatorConfig, server

PATH = "/images/generate"


class Upstream:
    """A client of one running simulator."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.http = httpx.Client(base_url=self.url, trust_env=False, timeout=20)
        self._forgotten = Decimal(0)

    def billed(self) -> Decimal:
        """Return the sum of the bill in yuan, since it was forgotten."""
        return Decimal(self.get("/simulator/bill")["cost_yuan"]) - self._forgotten

    def forget_bill(self) -> None:
        """Count from here."""
        self._forgotten += self.billed()

    def post(self, prompt: str = "p", *, key: str = "secret-one", **members: Any) -> httpx.Response:
        """Ask flux-2-pro for an image of 64x64, unless `members` say otherwise."""
        body = {"model": "flux-2-pro", "prompt": prompt, **members}
        if body["model"].startswith("flux") and "aspect_ratio" not in body:
            body = {"width": 64, "height": 64, **body}
        return self.http.post(PATH, json=body, headers={"Authorization": f"Bearer {key}"})

    def get(self, path: str) -> Any:
        """Fetch JSON."""
        return self.http.get(path).json()

    def image(self, answer: httpx.Response) -> httpx.Response:
        """Fetch the first link of an answer."""
        return self.http.get(answer.json()["data"][0]["image"])


@contextmanager
def running(config: SimulatorConfig) -> Iterator[Upstream]:
    """Serve in a thread, with real sockets, until left."""
    serving = server(config, "127.0.0.1", 0)
    thread = threading.Thread(target=serving.run)
    thread.start()
    try:
        deadline = time.monotonic() + 10
        while not serving.started:
            assert thread.is_alive()
            assert time.monotonic() < deadline
            time.sleep(0.005)
        upstream = Upstream(serving.port)
        with upstream.http:
            yield upstream
    finally:
        serving.should_exit = True
        thread.join(15)
        assert not thread.is_alive()


@pytest.fixture(scope="session")
def upstream() -> Iterator[Upstream]:
    """One simulator with a single account, shared by all tests that need none of their own."""
    with running(SimulatorConfig(keys=("secret-one",))) as client:
        yield client


@pytest.fixture
def serve() -> Callable[[SimulatorConfig], AbstractContextManager[Upstream]]:
    """Serve a simulator for as long as a `with` block lasts."""
    return running


@pytest.fixture
def start() -> Iterator[Callable[..., Upstream]]:
    """Start simulators of the test's own."""
    with ExitStack() as stack:
        yield lambda **settings: stack.enter_context(running(SimulatorConfig(**settings)))
