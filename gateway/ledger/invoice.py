"""An upstream statement: CSV with the columns date, model, count and cost, added up by day and model. Pure."""

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TypeAlias

from gateway.moments import InvalidMoment, parse_day
from gateway.money import MICROS_PER_YUAN

COLUMNS = ("date", "model", "count", "cost")

DayAndModel: TypeAlias = tuple[str, str]

_COUNT = re.compile(r"[0-9]{1,12}", re.ASCII)
_COST = re.compile(r"-?[0-9]{1,12}(\.[0-9]{1,12})?", re.ASCII)


class InvalidInvoice(Exception):
    """The statement cannot be read. `faults` are all that is wrong with it, each with its line."""

    def __init__(self, faults: Sequence[str]) -> None:
        self.faults = faults
        super().__init__("\n".join(faults))


@dataclass(frozen=True, slots=True)
class Billed:
    """What upstream says of a day and model: how many calls, and what they cost; a refund is negative."""

    count: int = 0
    yuan: Decimal = Decimal(0)

    @property
    def finer(self) -> bool:
        """Whether the cost is finer than the ledger's micro-yuan."""
        return self.yuan * MICROS_PER_YUAN % 1 != 0

    def plus(self, other: "Billed") -> "Billed":
        """Add another line of the same day and model."""
        return Billed(self.count + other.count, self.yuan + other.yuan)


def read_invoice(content: bytes) -> Mapping[DayAndModel, Billed]:
    """Read a statement; lines of the same day and model are added up. Raises InvalidInvoice.

    The columns may stand in any order and in either case; others are left alone.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InvalidInvoice([f"line {line}: is not UTF-8"]) from error
    faults: list[str] = []
    billed: dict[DayAndModel, Billed] = {}
    for line, fields in _lines(text, faults):
        key, one = _read(fields, line, faults)
        billed[key] = billed[key].plus(one) if key in billed else one
    if not faults and not billed:
        faults.append("line 1: nothing follows the head line")
    if faults:
        raise InvalidInvoice(faults)
    return billed


def parse_invoice_day(text: str) -> str:
    """Read a day of a statement: one that a calendar reckons with. Raises InvalidMoment."""
    day = parse_day(text)
    if not "2000" <= day < "3000":
        raise InvalidMoment("must be a day between 2000-01-01 and 2999-12-31")
    return day


def _lines(text: str, faults: list[str]) -> Iterator[tuple[int, Mapping[str, str]]]:
    """Yield each line that is not empty, with its number and its fields by column."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        head = [name.strip().lower() for name in next(reader, [])]
        if wrong := [name for name in COLUMNS if head.count(name) != 1]:
            faults.append(f"line 1: must name each of {', '.join(COLUMNS)} once; look at {', '.join(wrong)}")
            return
        for fields in reader:
            if len(fields) == len(head):
                yield reader.line_num, dict(zip(head, map(str.strip, fields), strict=True))
            elif fields:
                faults.append(f"line {reader.line_num}: has {len(fields)} fields where the head line has {len(head)}")
    except csv.Error as error:
        faults.append(f"line {reader.line_num}: {error}")


def _read(fields: Mapping[str, str], line: int, faults: list[str]) -> tuple[DayAndModel, Billed]:
    """Read a line; what is wrong with it is added to `faults`."""
    day, count, cost = "", 0, Decimal(0)
    try:
        day = parse_invoice_day(fields["date"])
    except InvalidMoment as error:
        faults.append(f"line {line}: date: {error}")
    if not fields["model"]:
        faults.append(f"line {line}: model: must not be empty")
    if _COUNT.fullmatch(fields["count"]):
        count = int(fields["count"])
    else:
        faults.append(f"line {line}: count: must be a whole number such as 12")
    if _COST.fullmatch(fields["cost"]):
        cost = Decimal(fields["cost"])
    else:
        faults.append(f"line {line}: cost: must be an amount of yuan such as 12.34")
    return (day, fields["model"]), Billed(count, cost)
