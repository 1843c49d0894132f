"""The data directory: whose it is, and the secret in it."""

import os
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gateway import data_dir
from gateway.errors import Misconfigured
from gateway.settings import load


@pytest.fixture(autouse=True)
def _umask() -> Iterator[None]:
    """Give the next test the mask that this one found."""
    before = os.umask(0o022)
    yield
    os.umask(before)


def test_a_secret_is_made_once_and_whole(tmp_path: Path) -> None:
    """However many ask at the same time, all get the same 64 characters, and nothing else is left behind."""
    settings = load({"GATEWAY_DATA_DIR": str(tmp_path)})
    with ThreadPoolExecutor(16) as pool:
        asked = [pool.submit(data_dir.secrets_of, settings) for _ in range(32)]
        found = {tuple(one.result()) for one in asked}
    ((secret,),) = found
    assert len(secret) == 64
    assert [path.name for path in tmp_path.iterdir()] == ["secret"]


@pytest.mark.parametrize("content", ["", "\n", "short"])
def test_a_secret_that_is_none_is_refused(tmp_path: Path, content: str) -> None:
    """Keys under an empty pepper would be anybody's."""
    (tmp_path / "secret").write_text(content)
    with pytest.raises(Misconfigured, match="at least 32 characters"):
        data_dir.secrets_of(load({"GATEWAY_DATA_DIR": str(tmp_path)}))


def test_nobody_else_reads_what_is_made(tmp_path: Path) -> None:
    """Also in a directory that was there before, files are their owner's alone."""
    data_dir.prepare(tmp_path)
    (tmp_path / "file").write_text("prompts")
    (tmp_path / "folder").mkdir()
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "folder").stat().st_mode) == 0o700
