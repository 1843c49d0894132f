"""What came in piece by piece is the whole again, and held once."""

import tracemalloc

import pytest

from gateway.pieces import Pieces

MIB = 1 << 20


@pytest.mark.parametrize("sizes", [[], [3], [65_536] * 40, [65_536] * 128, [65_536] * 129, [1] * 5000, [20 * MIB, 5]])
def test_pieces_make_the_whole_in_their_order(sizes: list[int]) -> None:
    """Whether they are none, few or very large together; and the whole may be asked for again."""
    given = [bytes([number % 256]) * size for number, size in enumerate(sizes)]
    pieces = Pieces()
    for piece in given:
        pieces.add(piece)
    assert pieces.size == sum(sizes)
    assert pieces.together() == b"".join(given)
    assert pieces.together() == b"".join(given)


def test_one_piece_is_the_whole_itself() -> None:
    """Whatever was unpacked elsewhere is not copied again."""
    pieces, whole = Pieces(), bytes(20 * MIB)
    pieces.add(whole)
    assert pieces.together() is whole


def test_a_very_large_body_is_held_once() -> None:
    """64 MiB take an eighth more at most beside the first pieces, also while they are put together."""
    pieces = Pieces()
    tracemalloc.start()
    try:
        for _ in range(512):
            pieces.add(bytes(MIB // 8))
        whole = pieces.together()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(whole) == 64 * MIB
    assert peak < 64 * MIB * 9 / 8 + MIB
