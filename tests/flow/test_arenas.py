"""All threads of a process that serves share one arena of memory (malloc(3) of glibc)."""

import re
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from tests.servers.fleet import fleet
from tests.servers.pair import Pair
from tests.servers.redis import redis_server
from tests.servers.workers import workers_of
from tests.unit.images.pictures import picture

ARENA_BYTES = 64 << 20
"""What glibc sets aside for an arena of a thread, at a multiple of its own size."""

LARGE = {"model": "flux-2-pro", "input_image": b64encode(picture("PNG", 600, 600, compress_level=0)).decode()}
ALLOCATING = """
import sys, threading
held = []
threads = [threading.Thread(target=lambda: held.append(bytes(100_000))) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print("done", flush=True)
sys.stdin.read()
"""


def arenas(pid: int) -> int:
    """Count the arenas of threads: a part that is used and the rest that is set aside, together of their one size."""
    lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
    parts = [re.match(r"([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ 0\s*$", line) for line in lines]
    spans = [(int(part[1], 16), int(part[2], 16), part[3]) for part in parts if part]
    return sum(
        (used, rest, middle) == ("rw-p", "---p", begun) and start % ARENA_BYTES == 0 and end - start == ARENA_BYTES
        for (start, middle, used), (begun, end, rest) in pairwise(spans)
    )


@pytest.fixture(scope="module")
def countable() -> None:
    """Skip where a program that does nothing about it has no arenas of its threads either."""
    command = (sys.executable, "-c", ALLOCATING)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == "done\n"
        if arenas(program.pid) == 0:
            pytest.skip("malloc has no arenas of threads here, or they are not to be seen in /proc")
        program.communicate()


@pytest.fixture(params=["embedded", "workers"])
def busied(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[list[int]]:
    """Let a gateway take large requests, which it reads in threads; give its processes that serve."""
    if request.param == "embedded":
        both: Pair = request.getfixturevalue("shared")
        for _ in range(4):
            assert both.post(headers=None, **LARGE).status_code == 200
        yield [both.gateway.pid]
        return
    url = request.getfixturevalue("postgres_url")
    with redis_server() as redis, fleet(tmp_path, url, redis_url=redis.url, workers="2") as two:
        for number in range(8):
            assert two.gateway.post(two.key, None, prompt=str(number), **LARGE).status_code == 200
        yield workers_of(two.gateway)


@pytest.mark.usefixtures("countable")
def test_threads_have_no_arenas_of_their_own(busied: list[int]) -> None:
    """What one thread has freed is of use to every other."""
    assert [arenas(pid) for pid in busied] == [0] * len(busied)
