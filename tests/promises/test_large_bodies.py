"""Large bodies take turns for a process's memory, and whoever has no key gets nothing of theirs read."""

import socket
import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pybase64
import pytest

from gateway.contract import MAX_REFERENCE_BYTES, REFERENCE_FIELDS
from tests.flow.wire import request
from tests.servers.gateway import Gateway, elsewhere
from tests.servers.pair import Pair, pair
from tests.unit.images.pictures import png_claiming

KIB, MIB = 1 << 10, 1 << 20
PEAK_MIB = 1536
LIVE_SECONDS = 0.25
UNREAD_KIB = 512
PATIENCE_SECONDS = 120.0


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Run a gateway of one worker, as it comes."""
    with pair(tmp_path_factory.mktemp("large")) as two:
        yield two


@pytest.fixture(scope="module")
def body() -> bytes:
    """Write the largest request that the contract knows: eight references of 20 MB."""
    header = png_claiming(1024, 1024)
    reference = pybase64.b64encode(header + bytes(MAX_REFERENCE_BYTES - len(header)))
    references = b",".join(b'"%s":"%s"' % (name.encode(), reference) for name in REFERENCE_FIELDS)
    return b'{"model":"flux-2-pro","prompt":"large","width":64,"height":64,%s}' % references


def send(gateway: Gateway, head: bytes, body: bytes) -> tuple[int, dict[str, str]]:
    """Send a request as far as it is taken; return status and headers of the answer."""
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=PATIENCE_SECONDS) as connection:
        with suppress(BrokenPipeError, ConnectionResetError):  # it was answered before all was sent
            connection.sendall(head)
            connection.sendall(body)
        received = b""
        while b"\r\n\r\n" not in received:
            piece = connection.recv(65536)
            assert piece, f"no answer: {received!r}"
            received += piece
    status, *lines = received.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return int(status.split()[1]), headers


def head(body: bytes, *headers: str) -> bytes:
    """Write the head of a request for this body."""
    return request(*headers, "Content-Type: application/json", f"Content-Length: {len(body)}", length=False)


def status_of(gateway: Gateway, name: str) -> int:
    """Read a figure of a process, in KiB (proc_pid_status(5))."""
    lines = Path(f"/proc/{gateway.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


@contextmanager
def asked_whether_alive(gateway: Gateway) -> Iterator[list[float]]:
    """Ask for /livez again and again meanwhile; gather how many seconds each answer took."""
    took: list[float] = []
    done = threading.Event()

    def ask() -> None:
        with httpx.Client(base_url=gateway.url, trust_env=False, timeout=30) as client:
            while not done.wait(0.01):
                begun = time.monotonic()
                assert client.get("/livez").status_code == 200
                took.append(time.monotonic() - begun)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield took
    finally:
        done.set()
        thread.join()


@pytest.mark.alone
def test_the_largest_bodies_at_once_take_turns(both: Pair, body: bytes, count: Callable[[int, int], int]) -> None:
    """Some are generated, the others told to come again; memory stays bounded and the process answers meanwhile."""
    number = count(2, 20)
    Path(f"/proc/{both.gateway.pid}/clear_refs").write_text("5")  # the peak is from now on (proc_pid_clear_refs(5))
    asking = head(body, f"Authorization: {both.key}")
    with asked_whether_alive(both.gateway) as took, ThreadPoolExecutor(number) as callers:
        answers = list(callers.map(lambda _: send(both.gateway, asking, body), range(number)))
    statuses, peak = Counter(status for status, _ in answers), status_of(both.gateway, "VmHWM") / KIB
    p99 = statistics.quantiles(took, n=100)[98]
    print(
        f"{number} bodies of {len(body) / MIB:.1f} MiB at once: {dict(statuses)}, peak {peak:.0f} MiB,"
        f" {len(took)} times /livez, p99 {p99 * 1000:.0f} ms, at most {max(took) * 1000:.0f} ms"
    )
    assert statuses.keys() <= {200, 503}
    assert statuses[200] >= 2
    assert all("retry-after" in headers for status, headers in answers if status == 503)
    assert len(both.simulator.bill()) == statuses[200]
    assert both.settled() == both.simulator.bill_total()
    assert peak <= PEAK_MIB
    assert p99 <= LIVE_SECONDS


def test_of_an_upload_without_a_key_hardly_a_byte_is_read(
    both: Pair, body: bytes, count: Callable[[int, int], int]
) -> None:
    """401 comes after at most 512 KiB, however much is sent, and not one of the process's reads is for more."""
    number = count(4, 20)
    before = bytes_read(both.gateway)
    with both.untouched(), ThreadPoolExecutor(number) as callers:
        asked = [head(body, ": ".join(elsewhere())) for _ in range(number)]
        answers = list(callers.map(lambda asking: send(both.gateway, asking, body)[0], asked))
        each = (bytes_read(both.gateway) - before) / number / KIB
    print(f"{number} uploads of {len(body) / MIB:.1f} MiB without a key: {each:.0f} KiB read of each")
    assert answers == [401] * number
    assert each <= UNREAD_KIB


def bytes_read(gateway: Gateway) -> int:
    """Return how many bytes a process has ever read from files and sockets (proc_pid_io(5))."""
    lines = Path(f"/proc/{gateway.pid}/io").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("rchar:"))
