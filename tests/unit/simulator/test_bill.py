"""The bill: durable, complete, without secrets."""

import asyncio
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.simulator import BillLine, bill_total, read_bill
from gateway.simulator.bill import Bill


def line(number: int) -> BillLine:
    """Make a line."""
    return BillLine(f"bill_{number}", 1, "0", "flux-2-pro", number, (), "")


def test_a_bill_that_does_not_exist_is_empty(tmp_path: Path) -> None:
    """Reading needs no file."""
    assert read_bill(tmp_path / "none") == []
    assert bill_total(tmp_path / "none") == 0


def test_what_is_added_can_be_read(tmp_path: Path) -> None:
    """Lines added at the same time are all there, unchanged, when their `add` returns."""
    path = tmp_path / "bill"

    async def add_all() -> None:
        bill = Bill(path)

        async def add(number: int) -> None:
            await bill.add(line(number))
            assert line(number) in read_bill(path)

        await asyncio.gather(*(add(number) for number in range(50)))
        assert (bill.total.lines, bill.total.cost) == (50, 1225)

    asyncio.run(add_all())
    assert sorted(read_bill(path), key=lambda kept: kept.cost) == [line(number) for number in range(50)]


def test_a_line_is_synced_to_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When `add` returns, the file was synced with the whole line in it."""
    synced: list[int] = []
    monkeypatch.setattr("os.fsync", lambda descriptor: synced.append(os.fstat(descriptor).st_size))
    asyncio.run(Bill(tmp_path / "bill").add(line(1)))
    assert synced == [(tmp_path / "bill").stat().st_size]


def test_a_torn_last_line_is_dropped(tmp_path: Path) -> None:
    """Half a line of a killed simulator is no line, and the next one begins on its own."""
    path = tmp_path / "bill"
    asyncio.run(Bill(path).add(line(1)))
    with path.open("ab") as file:
        file.write(b'{"id": "bill_2", "at"')
    assert read_bill(path) == [line(1)]
    bill = Bill(path)
    asyncio.run(bill.add(line(3)))
    assert read_bill(path) == [line(1), line(3)]
    assert bill.total.cost == 4


def test_a_bill_that_cannot_be_written_fails_the_call(tmp_path: Path) -> None:
    """What is not durable is not said to be."""
    bill = Bill(tmp_path / "missing" / "bill")
    with pytest.raises(FileNotFoundError):
        asyncio.run(bill.add(line(1)))
    assert bill.total.lines == 0


def test_a_call_that_gave_up_waiting_is_still_billed(tmp_path: Path) -> None:
    """A cancelled caller takes nobody else's line with it."""
    path = tmp_path / "bill"

    async def cancel_one() -> None:
        bill = Bill(path)
        first, second = (asyncio.create_task(bill.add(line(number))) for number in (1, 2))
        await asyncio.sleep(0)
        first.cancel()
        await second
        assert first.cancelled()
        assert bill.total.lines == 2

    asyncio.run(cancel_one())
    assert read_bill(path) == [line(1), line(2)]


def test_the_bill_tells_what_was_produced_and_for_whom(start: Callable[..., Any], tmp_path: Path) -> None:
    """A line names account, model, cost, the image's digest and size, and whether the answer was withheld."""
    path = tmp_path / "bill"
    upstream = start(keys=("alpha-key", "beta-key"), bill_path=path)
    image = upstream.image(upstream.post("a cat", key="beta-key", width=48, height=32)).content
    upstream.post("[garbage]", key="alpha-key")
    kept, withheld = read_bill(path)
    assert (kept.account, kept.model, kept.cost, kept.cut) == ("1", "flux-2-pro", 40_000, False)
    assert kept.prompt_sha256 == hashlib.sha256(b"a cat").hexdigest()
    (made,) = kept.images
    assert (made.sha256, made.size) == (hashlib.sha256(image).hexdigest(), len(image))
    assert (made.width, made.height) == (48, 32)
    assert (withheld.account, withheld.cut) == ("0", True)
    assert bill_total(path) == 80_000
    assert b"-key" not in path.read_bytes()


def test_a_bill_is_continued(start: Callable[..., Any], tmp_path: Path) -> None:
    """A simulator that is started again goes on with the bill it finds."""
    path = tmp_path / "bill"
    start(bill_path=path).post()
    upstream = start(bill_path=path)
    upstream.post()
    assert upstream.get("/simulator/bill") == {"lines": 2, "images": 2, "cost_yuan": "0.080000"}
