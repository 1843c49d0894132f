"""What waits for SQL is in a file that survives the process."""

import asyncio
import fcntl
import os
import stat
import threading
from pathlib import Path

import pytest

from gateway.ledger.bill import Bill
from gateway.ledger.journal import Journal, JournaledImage
from gateway.ledger.records import Abandonment, Settlement
from tests.books import open_journal

IMAGE = JournaledImage("a.png", "image/png", 100, 64, 32, "b" * 64)
SETTLED = Settlement(
    id="gen_1",
    tenant_id="ten_1",
    bill=Bill("exact", 40_000),
    settled_at=5,
    answered_model="flux-2-pro",
    provider="BFL",
    account="1",
    images_generated=1,
    images=(IMAGE,),
    reply='{"code":0}',
    frees_key=True,
)
LOST = Abandonment("gen_2", "ten_1", "silence", "2")


def left_behind(directory: Path, *entries: Settlement | Abandonment, process_id: str = "one") -> Path:
    """Write a journal as a process would that ends before it commits; return its file."""
    with open_journal(directory, process_id) as journal:
        asyncio.run(_append(journal, *entries))
    return directory / f"{process_id}.jsonl"


def adopted(directory: Path, process_id: str = "next") -> list[Settlement | Abandonment]:
    """Return what the next process finds."""
    with open_journal(directory, process_id) as journal:
        return list(journal.entries)


def test_entries_come_back_as_they_were(tmp_path: Path) -> None:
    """The next process finds every entry, images and bill included, in the order they came, and takes them over."""
    left_behind(tmp_path, SETTLED, LOST)
    assert adopted(tmp_path) == [SETTLED, LOST]
    assert [path.name for path in tmp_path.iterdir()] == ["next.jsonl"]
    assert adopted(tmp_path, "third") == [SETTLED, LOST]


def test_a_line_that_was_cut_short_was_never_acknowledged(tmp_path: Path) -> None:
    """A crash in the middle of a line loses that line and no other."""
    path = left_behind(tmp_path, SETTLED, LOST)
    path.write_bytes(path.read_bytes()[:-5])
    assert adopted(tmp_path) == [SETTLED]


def test_the_journal_of_a_living_process_is_left_alone(tmp_path: Path) -> None:
    """Workers that share a directory take over from the dead alone."""
    left_behind(tmp_path, LOST, process_id="dead")
    with open_journal(tmp_path, "alive") as alive:
        asyncio.run(_append(alive, SETTLED))
        assert adopted(tmp_path) == []
        assert alive.entries == [LOST, SETTLED]


def test_the_file_is_empty_when_everything_is_committed(tmp_path: Path) -> None:
    """The file holds what it holds as long as one entry waits, is its owner's alone, and goes with its process."""
    path = tmp_path / "one.jsonl"
    with open_journal(tmp_path, "one") as journal:
        asyncio.run(_append(journal, SETTLED, LOST))
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        asyncio.run(journal.done([SETTLED]))
        assert journal.entries == [LOST]
        assert path.stat().st_size > 0
        asyncio.run(journal.done([LOST]))
        assert path.stat().st_size == 0
        asyncio.run(_append(journal, LOST))
        asyncio.run(journal.done([LOST]))
    assert not path.exists()


def test_many_at_once_are_all_written(tmp_path: Path) -> None:
    """Entries appended at the same moment are each a whole line."""
    entries = [Abandonment(f"gen_{number}", "ten_1", "silence") for number in range(100)]

    async def story() -> None:
        await asyncio.gather(*(journal.append(entry) for entry in entries))

    with open_journal(tmp_path, "one") as journal:
        asyncio.run(story())
    assert sorted(adopted(tmp_path), key=lambda one: one.id) == sorted(entries, key=lambda one: one.id)


def test_half_a_line_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that takes half an entry is a failure that is told, and does not spoil the entries around it."""
    write = os.write
    with open_journal(tmp_path, "one") as journal:
        asyncio.run(_append(journal, SETTLED))
        with monkeypatch.context() as full:
            full.setattr(os, "write", lambda file, line: write(file, line[:10]))
            with pytest.raises(OSError, match="could not be written whole"):
                asyncio.run(_append(journal, LOST))
        asyncio.run(_append(journal, LOST))
    assert adopted(tmp_path) == [SETTLED, LOST]


def test_a_journal_taken_for_a_dead_ones_is_made_again(tmp_path: Path) -> None:
    """Another process may remove the file before its owner has locked it: what is journaled then is in a new one."""
    path = tmp_path / "one.jsonl"
    other = os.open(path, os.O_RDWR | os.O_CREAT)
    fcntl.flock(other, fcntl.LOCK_EX)
    journal = Journal(tmp_path, "one")
    opening = threading.Thread(target=journal.open)
    opening.start()
    path.unlink()
    os.close(other)
    opening.join(10)
    asyncio.run(_append(journal, LOST))
    assert path.stat().st_size > 0
    journal.close()


def test_a_closed_journal_takes_nothing(tmp_path: Path) -> None:
    """An entry that did not reach the disk is not taken for safe."""
    with pytest.raises(ValueError, match="not open"):
        asyncio.run(_append(Journal(tmp_path, "one"), LOST))


async def _append(journal: Journal, *entries: Settlement | Abandonment) -> None:
    for entry in entries:
        await journal.append(entry)
