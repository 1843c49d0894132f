"""What waits for SQL is in a file that survives the process."""

import asyncio
import stat
from pathlib import Path

import pytest

from gateway.ledger.bill import Bill
from gateway.ledger.journal import Journal, JournaledImage
from gateway.ledger.records import Abandonment, Settlement

IMAGE = JournaledImage("a.png", "image/png", 100, 64, 32, "b" * 64)
SETTLED = Settlement(
    "gen_1", "ten_1", Bill("exact", 40_000), 5, "flux-2-pro", "BFL", "1", 1, 0, (IMAGE,), '{"code":0}', None, True
)
LOST = Abandonment("gen_2", "ten_1", "silence", "2")


def adopted(directory: Path) -> list[Settlement | Abandonment]:
    """Return what the next process finds."""
    journal = Journal(directory, "next")
    assert journal.adopt() == len(journal.entries)
    return journal.entries


def test_entries_come_back_as_they_were(tmp_path: Path) -> None:
    """The next process finds every entry, images and bill included, in the order they came, and takes them over."""
    asyncio.run(_append(Journal(tmp_path, "one"), SETTLED, LOST))
    assert adopted(tmp_path) == [SETTLED, LOST]
    assert [path.name for path in tmp_path.iterdir()] == ["next.jsonl"]
    again = Journal(tmp_path, "third")
    assert again.adopt() == 2


def test_a_line_that_was_cut_short_was_never_acknowledged(tmp_path: Path) -> None:
    """A crash in the middle of a line loses that line and no other."""
    asyncio.run(_append(Journal(tmp_path, "one"), SETTLED, LOST))
    path = tmp_path / "one.jsonl"
    path.write_bytes(path.read_bytes()[:-5])
    assert adopted(tmp_path) == [SETTLED]


def test_the_file_is_gone_when_everything_is_committed(tmp_path: Path) -> None:
    """The file stays as long as one entry waits, is its owner's alone, and goes with the last one."""
    journal = Journal(tmp_path, "one")

    async def story() -> None:
        await _append(journal, SETTLED, LOST)
        assert stat.S_IMODE((tmp_path / "one.jsonl").stat().st_mode) == 0o600
        await journal.done([SETTLED])
        assert journal.entries == [LOST]
        assert adopted(tmp_path / "elsewhere") == []
        assert (tmp_path / "one.jsonl").exists()
        await journal.done([LOST])
        assert not (tmp_path / "one.jsonl").exists()
        await journal.append(LOST)

    asyncio.run(story())
    assert adopted(tmp_path) == [LOST]


def test_many_at_once_are_all_written(tmp_path: Path) -> None:
    """Entries appended at the same moment are each a whole line."""
    entries = [Abandonment(f"gen_{number}", "ten_1", "silence") for number in range(100)]

    async def story() -> None:
        journal = Journal(tmp_path, "one")
        await asyncio.gather(*(journal.append(entry) for entry in entries))

    asyncio.run(story())
    assert sorted(adopted(tmp_path), key=lambda one: one.id) == sorted(entries, key=lambda one: one.id)


def test_what_cannot_be_written_is_said(tmp_path: Path) -> None:
    """An entry that did not reach the disk is not taken for safe."""
    with pytest.raises(OSError, match="absent"):
        asyncio.run(_append(Journal(tmp_path / "absent", "one"), LOST))


async def _append(journal: Journal, *entries: Settlement | Abandonment) -> None:
    for entry in entries:
        await journal.append(entry)
