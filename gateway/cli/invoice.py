"""`gateway reconcile --invoice`: an upstream statement compared with the ledger."""

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar

import typer

from gateway.cli.access import put_csv, put_json, put_table, say, settings, with_database
from gateway.ledger.compare import Booked, Difference, booked_on, days_between, differences, write_yuan
from gateway.ledger.invoice import Billed, DayAndModel, InvalidInvoice, parse_invoice_day, read_invoice
from gateway.moments import InvalidMoment, parse_zone, require_order

Format = Literal["table", "csv", "json"]
Value = TypeVar("Value")

MOST_DAYS = 366
MOST_FAULTS = 20
"""How many of a statement's faults are told."""


def compare(path: Path, *, first: str, last: str, zone: str, form: Format) -> None:
    """Print what differs; the exit status is 1 if anything does. The days are the statement's, if not given."""
    configured = settings()
    other = _read("--timezone", parse_zone, zone) if zone else None
    billed = _invoice(path)
    first = _read("--from", parse_invoice_day, first) if first else min(billed)[0]
    last = _read("--to", parse_invoice_day, last) if last else max(billed)[0]
    _read("--to", partial(require_order, first), last)
    days = days_between(first, last)
    if len(days) > MOST_DAYS:
        raise typer.BadParameter(f"{first} to {last} are more than {MOST_DAYS} days", param_hint="--from, --to")
    billed = {key: one for key, one in billed.items() if first <= key[0] <= last}
    booked = with_database(lambda one: one.read(lambda sql: booked_on(sql, days, other)), configured)
    found = [one.shown() for one in differences(billed, booked)]
    _put(found, form)
    where = configured.zone.key if other is None else other.key
    say(f"{first} to {last}, {where}: the invoice says {_total(billed)} yuan, the ledger {_total(booked)}")
    pairs = len(billed.keys() | booked.keys())
    if found:
        say(f"{len(found)} of {pairs} days and models differ")
        raise typer.Exit(1)
    say(f"all {pairs} days and models agree")


def _put(found: Sequence[dict[str, Any]], form: Format) -> None:
    if form == "json":
        put_json({"rows": found})
    elif form == "csv":
        put_csv(list(Difference("", "", None, None).shown()), [list(row.values()) for row in found])
    elif found:
        lines = [["-" if value is None else str(value) for value in row.values()] for row in found]
        names = [column.upper() for column in found[0]]
        put_table(names, lines, empty="", right=names[2:])


def _total(sides: Mapping[DayAndModel, Billed] | Mapping[DayAndModel, Booked]) -> str:
    return write_yuan(sum((one.yuan for one in sides.values()), Decimal(0)))


def _invoice(path: Path) -> Mapping[DayAndModel, Billed]:
    """Read the statement; every fault of it is told."""
    try:
        return read_invoice(path.read_bytes())
    except OSError as error:
        raise typer.BadParameter(f"{path} cannot be read: {error.strerror}", param_hint="--invoice") from error
    except InvalidInvoice as error:
        told = error.faults[:MOST_FAULTS]
        if len(error.faults) > MOST_FAULTS:
            told = [*told, f"and {len(error.faults) - MOST_FAULTS} more"]
        for fault in told:
            say(f"{path}: {fault}")
        raise typer.Exit(1) from error


def _read(option: str, read: Callable[[str], Value], text: str) -> Value:
    try:
        return read(text)
    except InvalidMoment as error:
        raise typer.BadParameter(str(error), param_hint=option) from error
