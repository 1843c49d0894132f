"""A catalog file that changes under a running gateway."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.catalog import Catalog, CatalogFault, CatalogFile, load

MODEL = '[models.{name}]\nprovider = "p"\naccepts = []\nprice = {{ image = "1", currency = "CNY" }}\n'


class _Watched:
    """A file with one model, its CatalogFile, and what was reported."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "catalog.toml"
        self.write(MODEL.format(name="one"))
        self.reports: list[Catalog | CatalogFault] = []
        self.file = CatalogFile(self.path, self.reports.append)

    def write(self, content: str) -> None:
        """Replace the file at one stroke, as a careful editor or a mounted configuration does."""
        beside = self.path.with_suffix(".new")
        beside.write_text(content)
        beside.replace(self.path)

    def names(self) -> list[str]:
        """Return the names of the models in use."""
        return [model.name for model in self.file.current.models]


@pytest.fixture
def watched(tmp_path: Path) -> _Watched:
    """Give a file with the model `one`, already read."""
    return _Watched(tmp_path)


def test_an_unchanged_file_is_not_read_again(watched: _Watched) -> None:
    """As long as the file is the same, so is the catalog."""
    first = watched.file.current
    watched.file.look()
    assert watched.file.current is first
    assert watched.reports == []


def test_a_new_version_is_taken(watched: _Watched) -> None:
    """A changed file is read again and reported."""
    watched.write(MODEL.format(name="two"))
    watched.file.look()
    assert watched.names() == ["two"]
    assert watched.reports == [watched.file.current]


def test_a_change_in_place_is_seen(watched: _Watched) -> None:
    """A file that is written over, with a model of the same length, is seen by its time."""
    watched.path.write_text(MODEL.format(name="two"))
    os.utime(watched.path, ns=(1, 1))
    watched.file.look()
    assert watched.names() == ["two"]


def test_a_faulty_version_is_refused(watched: _Watched) -> None:
    """A faulty version is reported once, the old one stays, and the next good one is taken."""
    watched.write("models = 1")
    watched.file.look()
    watched.file.look()
    assert watched.names() == ["one"]
    (fault,) = watched.reports
    assert isinstance(fault, CatalogFault)
    assert fault.faults == [f"{watched.path}: models: must be a table"]
    watched.write(MODEL.format(name="three"))
    watched.file.look()
    assert watched.names() == ["three"]


def test_a_file_that_goes_away(watched: _Watched) -> None:
    """A file that is removed is reported once, and taken again when it is back."""
    watched.path.unlink()
    watched.file.look()
    watched.file.look()
    assert watched.names() == ["one"]
    assert len(watched.reports) == 1
    watched.write(MODEL.format(name="one"))
    watched.file.look()
    assert len(watched.reports) == 2


def test_a_faulty_first_version(tmp_path: Path) -> None:
    """There is no old version to keep at first, so a fault is raised."""
    with pytest.raises(CatalogFault):
        CatalogFile(tmp_path / "none.toml", print)


def test_watching(watched: _Watched) -> None:
    """While it is watched a change is taken by itself, also after a faulty one."""

    async def story() -> None:
        watching = asyncio.create_task(watched.file.watch(every=0.001))
        watched.write("[")
        await _until(lambda: len(watched.reports) == 1)
        watched.write(MODEL.format(name="two"))
        await _until(lambda: watched.names() == ["two"])
        watching.cancel()
        with pytest.raises(asyncio.CancelledError):
            await watching

    asyncio.run(story())


def test_the_shipped_catalog_is_not_watched() -> None:
    """The shipped catalog never changes: watching it ends at once."""
    file = CatalogFile(None, print)
    file.look()
    asyncio.run(asyncio.wait_for(file.watch(), timeout=5))
    assert [model.name for model in file.current.models] == [model.name for model in load(None).models]


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 -- the change happens in a thread, which sets no event
            await asyncio.sleep(0.001)
