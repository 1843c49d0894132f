"""The gateway and its simulated upstream: one pair for most tests, fresh ones for the rest."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.servers.pair import Pair, pair


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Share one pair, with one upstream account and all settings at their defaults."""
    with pair(tmp_path_factory.mktemp("shared")) as both:
        yield both


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Callable[..., Pair]]:
    """Start pairs of the test's own: `fresh("--delay", "1", upstream_timeout="5")`."""
    with ExitStack() as stack:
        yield lambda *options, **settings: stack.enter_context(
            pair(tmp_path / f"pair-{len(list(tmp_path.iterdir()))}", *options, **settings)
        )
