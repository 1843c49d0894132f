"""A fleet of two workers that the promises of the scaled installation share; what breaks its servers starts its own."""

from collections.abc import Iterator

import pytest

from tests.servers.fleet import Fleet, fleet
from tests.servers.postgres import Postgres
from tests.servers.redis import Server, redis_server


@pytest.fixture(scope="session")
def redis() -> Iterator[Server]:
    """Share one Redis: tenants keep what is in it apart."""
    with redis_server() as server:
        yield server


@pytest.fixture(scope="session")
def two_workers(tmp_path_factory: pytest.TempPathFactory, postgres_server: Postgres, redis: Server) -> Iterator[Fleet]:
    """Share a gateway of two workers, on PostgreSQL and Redis."""
    name = postgres_server.create_database()
    directory = tmp_path_factory.mktemp("two-workers")
    with fleet(directory, postgres_server.url(name), redis_url=redis.url, workers="2") as serving:
        yield serving
    postgres_server.drop_database(name)
