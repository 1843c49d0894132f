"""Load in a closed loop: so many connections, each of which asks again as soon as it is answered. Made by wrk."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import orjson

from tests.bench.tools import program

BODY = orjson.dumps({"model": "flux-2-pro", "prompt": "a cat on a window sill", "aspect_ratio": "16:9"})
SEEDED_BODY = orjson.dumps({**orjson.loads(BODY), "seed": 7})
"""What the default policy lets be answered from the cache."""
_SCRIPT = Path(__file__).with_name("wrk.lua")


@dataclass(frozen=True, slots=True)
class Load:
    """What the callers saw. `requests` were answered, `errors` are among them or were not; latencies in ms."""

    requests: int
    errors: int
    seconds: float
    p50_ms: float
    p99_ms: float

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.requests / self.seconds


def press(url: str, key: str, connections: int, seconds: int, core: int, *, body: bytes = BODY) -> Load:
    """Ask for images over so many connections, for so long. The last answers may come after the load has ended."""
    command = (
        *("taskset", "-c", str(core), program("wrk"), "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "30s"),
        *("-s", _SCRIPT, f"{url}/images/generate"),
    )
    environ = {"PATH": os.environ["PATH"], "KEY": key, "BODY": body.decode()}
    output = subprocess.run(command, env=environ, stdout=subprocess.PIPE, check=True, timeout=seconds + 60).stdout
    lines = [line.removeprefix(b"RESULT ") for line in output.splitlines() if line.startswith(b"RESULT ")]
    if not lines:
        raise RuntimeError(f"wrk gave no result: {output.decode(errors='replace')[-1000:]}")
    found = orjson.loads(lines[0])
    return Load(found["requests"], found["errors"], found["micros"] / 1e6, found["p50"] / 1e3, found["p99"] / 1e3)
