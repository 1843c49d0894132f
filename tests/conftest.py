"""What every test may ask for: small or full counts, and databases that are its own."""

from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from gateway.database.engine import sqlite_url
from tests.alone import place
from tests.servers.postgres import Postgres, postgres
from tests.servers.seaweedfs import S3Server, seaweedfs


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the switch of `make promises`."""
    parser.addoption("--full", action="store_true", help="long outages, many kills, large counts")


def pytest_configure(config: pytest.Config) -> None:
    """Let Hypothesis look as hard as the switch says; how long an example takes is nobody's promise."""
    settings.register_profile("small", max_examples=25, deadline=None, print_blob=True)
    settings.register_profile(
        "full", max_examples=2000, deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
    )
    settings.load_profile("full" if config.getoption("--full") else "small")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is marked `full` when counts are small."""
    if config.getoption("--full"):
        return
    for item in items:
        if item.get_closest_marker("full") is not None:
            item.add_marker(pytest.mark.skip(reason="only with --full"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Keep what is marked `alone`, its fixtures included, apart from what other processes of this run do."""
    with place(alone=item.get_closest_marker("alone") is not None):
        return (yield)


@pytest.fixture(scope="session")
def count(request: pytest.FixtureRequest) -> Callable[[int, int], int]:
    """Choose between a small and a full count: `for _ in range(count(3, 100))`."""
    full: bool = request.config.getoption("--full")
    return lambda small, large: large if full else small


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Postgres]:
    """Share one PostgreSQL; a test that breaks its server starts one of its own."""
    with postgres() as server:
        yield server


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """Share one S3 server, in whose bucket each has a folder; a test that breaks its server starts one of its own."""
    with seaweedfs(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture
def postgres_url(postgres_server: Postgres) -> Iterator[str]:
    """Give the URL of an empty PostgreSQL database."""
    name = postgres_server.create_database()
    yield postgres_server.url(name)
    postgres_server.drop_database(name)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Give the URL of an empty database of each kind in turn."""
    if request.param == "sqlite":
        return sqlite_url(tmp_path / "gateway.db")
    url: str = request.getfixturevalue("postgres_url")
    return url
