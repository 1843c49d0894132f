"""The servers that contract tests share, each started once and only if a test asks for it."""

from collections.abc import Iterator

import pytest

from tests.servers.seaweedfs import S3Server, seaweedfs


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """Run one S3 server for every test that wants one."""
    with seaweedfs(tmp_path_factory.mktemp("s3")) as server:
        yield server
