"""Run by the crash test: put an image into a directory, and end without a word at the n-th call of the system."""

import os
import sys
from pathlib import Path
from typing import Any

from gateway.images.local import LocalStore
from gateway.images.store import parse_name

CALLS = ("open", "mkdir", "write", "fsync", "rename", "close", "unlink")


def die_at(step: int, *, after: bool) -> None:
    """Let the process end before or after its n-th call; a write that it ends after has written only half."""
    made = 0

    def mortal(call: str) -> Any:
        real = getattr(os, call)

        def counted(*arguments: Any, **named: Any) -> Any:
            nonlocal made
            made += 1
            if made != step:
                return real(*arguments, **named)
            if after:
                if call == "write":
                    arguments = (arguments[0], bytes(arguments[1])[: len(arguments[1]) // 2])
                real(*arguments, **named)
            os._exit(9)

        return counted

    for call in CALLS:
        setattr(os, call, mortal(call))


def main() -> None:
    """Take the directory, the image's name, its size, the step and the side of it from the command line."""
    directory, name, size, step, side = sys.argv[1:]
    parsed = parse_name(name)
    assert parsed is not None
    store = LocalStore(Path(directory))
    die_at(int(step), after=side == "after")
    store._write(parsed, b"x" * int(size))


if __name__ == "__main__":
    main()
