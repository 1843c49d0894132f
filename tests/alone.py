"""A place among the tests that run side by side in several processes, or all of the room for one that measures."""

from collections.abc import Iterator
from contextlib import contextmanager
from fcntl import LOCK_EX, LOCK_SH, LOCK_UN, flock
from pathlib import Path

_ROOM = Path(__file__)
_DOOR = _ROOM.parent / "conftest.py"
"""Any two files do: the locks are the kernel's, nothing is written, and they end with their process."""


@contextmanager
def place(*, alone: bool) -> Iterator[None]:
    """Wait for a place, or until nobody else has one, and keep it until the block ends.

    Whoever wants to be alone holds the door while it waits: others leave, and none come in.
    """
    with _DOOR.open() as door, _ROOM.open() as room:
        flock(door, LOCK_EX)
        flock(room, LOCK_EX if alone else LOCK_SH)
        flock(door, LOCK_UN)
        yield
