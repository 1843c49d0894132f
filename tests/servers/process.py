"""A command of the product as a process of its own, its output in a file."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from signal import SIGTERM, Signals

import httpx

PATIENCE_SECONDS = 30.0
INHERITED = ("PATH", "HOME", "LANG", "TMPDIR")
"""All that a process gets of the environment: a GATEWAY_… variable of whoever runs the tests must not decide them."""


class Process:
    """A command with its environment. It may begin again after it has ended; the log goes on.

    `ready` is a URL that answers 200 once the process does what it is for.
    """

    def __init__(self, arguments: list[str], environment: Mapping[str, str], log: Path, *, ready: str) -> None:
        self.arguments = arguments
        self._ready = ready
        self.environment = {name: os.environ[name] for name in INHERITED if name in os.environ} | dict(environment)
        self.log_path = log
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        """Everything it wrote."""
        return self.log_path.read_text(errors="replace")

    @property
    def running(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process is not None
        return self._process.pid

    def begin(self) -> None:
        """Start it and wait until it is ready."""
        self.launch()
        self.await_ready()

    def launch(self) -> None:
        """Start it and wait for nothing."""
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "gateway", *self.arguments], env=self.environment, stdout=log, stderr=log
            )

    def await_ready(self) -> None:
        """Wait until it is ready: others may start at the same time."""
        with httpx.Client(trust_env=False, timeout=5) as client:
            wait_until(lambda: self._answers(client), f"{self.arguments[0]} to be ready")

    def send(self, number: Signals) -> None:
        """Send a signal and wait for nothing."""
        assert self._process is not None
        self._process.send_signal(number)

    def ended(self, seconds: float = PATIENCE_SECONDS) -> int:
        """Wait for its end and return its exit status."""
        assert self._process is not None
        return self._process.wait(seconds)

    def stop(self, number: Signals = SIGTERM) -> int:
        """Ask it to stop and return its exit status."""
        self.send(number)
        return self.ended()

    def kill(self) -> None:
        """End it as a power cut would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(PATIENCE_SECONDS)

    def _answers(self, client: httpx.Client) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"{self.arguments[0]} ended at once:\n{self.log[-3000:]}"
        try:
            return client.get(self._ready).status_code == httpx.codes.OK
        except httpx.TransportError:
            return False


def wait_until(condition: Callable[[], bool], what: str, seconds: float = PATIENCE_SECONDS) -> None:
    """Return once the condition holds; fail, saying what was waited for."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(0.02)
