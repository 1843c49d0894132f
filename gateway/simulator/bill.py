"""The simulator's own bill: what upstream would invoice, kept apart from everything the gateway believes.

One JSON object a line, only ever appended. A line is on disk (fsync) before the answer it belongs to is sent, so a
test may kill any process at any moment and still compare the gateway's ledger with the truth.
"""

import asyncio
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from gateway.clock import Millis
from gateway.money import Micros, format_yuan, from_decimal


@dataclass(frozen=True, slots=True)
class BilledImage:
    """One image that was produced: its bytes' SHA-256 in hexadecimal, their number, and the picture's pixels."""

    sha256: str
    size: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class BillLine:
    """One call that cost money.

    `account` is the position of the key among the configured ones, or a digest of it when every key is good; never
    the key. `cut` says that the simulator withheld the answer: the caller could not learn the cost from it.
    """

    id: str
    at: Millis
    account: str
    model: str
    cost: Micros
    images: tuple[BilledImage, ...]
    prompt_sha256: str
    cut: bool = False


@dataclass(frozen=True, slots=True)
class BillTotal:
    """The sum of a bill."""

    lines: int = 0
    images: int = 0
    cost: Micros = 0

    def plus(self, line: BillLine) -> "BillTotal":
        """Return the sum with one line more."""
        return BillTotal(self.lines + 1, self.images + len(line.images), self.cost + line.cost)


def read_bill(path: Path) -> list[BillLine]:
    """Read a bill, oldest line first. A last line without its end was never answered, and is left out."""
    try:
        written = path.read_bytes()
    except FileNotFoundError:
        return []
    return [_line(json.loads(text)) for text in written[: written.rfind(b"\n") + 1].splitlines()]


def bill_total(path: Path) -> Micros:
    """Return what the whole bill comes to."""
    return sum(line.cost for line in read_bill(path))


class Bill:
    """Appends to a bill. Lines that arrive while the disk is busy are written and synced together."""

    def __init__(self, path: Path | None) -> None:
        """Go on with the bill at `path`, or keep only its sum, in memory."""
        self._path = path
        self._waiting: list[tuple[BillLine, asyncio.Future[None]]] = []
        self._writer: asyncio.Task[None] | None = None
        self.total = BillTotal()
        if path is not None:
            for line in read_bill(path):
                self.total = self.total.plus(line)
            _drop_torn_end(path)

    async def add(self, line: BillLine) -> None:
        """Append a line; it is durable when this returns.

        Raises OSError when the file cannot be written.
        """
        if self._path is None:
            self.total = self.total.plus(line)
            return
        durable = asyncio.get_running_loop().create_future()
        self._waiting.append((line, durable))
        if self._writer is None:
            self._writer = asyncio.create_task(self._write_all(self._path))
        await durable

    async def _write_all(self, path: Path) -> None:
        try:
            while self._waiting:
                group, self._waiting = self._waiting, []
                try:
                    await asyncio.to_thread(_append, path, [line for line, _ in group])
                except OSError as failure:
                    for _, durable in group:
                        if not durable.done():
                            durable.set_exception(failure)
                else:
                    for line, durable in group:
                        self.total = self.total.plus(line)  # also for a caller that was cancelled meanwhile
                        if not durable.done():
                            durable.set_result(None)
        finally:
            self._writer = None


def _append(path: Path, lines: Sequence[BillLine]) -> None:
    text = "".join(json.dumps({**asdict(line), "cost": format_yuan(line.cost)}) + "\n" for line in lines)
    with path.open("ab") as file:
        file.write(text.encode())
        file.flush()
        os.fsync(file.fileno())


def _drop_torn_end(path: Path) -> None:
    """Cut off half a line that a killed simulator left, lest the next one be glued to it."""
    if path.exists():
        with path.open("rb+") as file:
            file.truncate(file.read().rfind(b"\n") + 1)


def _line(members: dict[str, Any]) -> BillLine:
    images = tuple(BilledImage(**image) for image in members.pop("images"))
    return BillLine(**{**members, "cost": from_decimal(Decimal(members["cost"])), "images": images})
