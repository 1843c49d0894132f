"""A Redis for what is cached, on the core of the load: its time is not the gateway's."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from tests.bench.processes import free_ports, running
from tests.servers.redis import any_redis


@contextmanager
def redis(directory: Path, core: int) -> Iterator[str]:
    """Run one until the block ends; give its URL."""
    directory.mkdir(parents=True)
    (port,) = free_ports(1)
    command = (any_redis(), "--port", str(port), "--bind", "127.0.0.1", "--dir", directory, "--save", "")
    with running(command, core, directory / "log", {}) as process:
        process.wait_for(lambda: _answers(port), "Redis")
        yield f"redis://127.0.0.1:{port}/0"


def _answers(port: int) -> bool:
    client = Redis(host="127.0.0.1", port=port)
    try:
        return bool(client.ping())
    except RedisConnectionError:
        return False
    finally:
        client.close()
