"""Spans of a trace: the flow marks what it does with them, and nobody looks unless traces are configured."""

from contextlib import AbstractContextManager, nullcontext
from typing import Protocol


class Spans(Protocol):
    """Begins a span of this name, which ends with the block: `with spans("reserve"): …`."""

    def __call__(self, name: str, /) -> AbstractContextManager[object]: ...


_NOTHING = nullcontext()


def no_span(_name: str) -> AbstractContextManager[object]:
    """Mark nothing, in no time worth measuring."""
    return _NOTHING
