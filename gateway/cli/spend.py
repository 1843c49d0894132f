"""`gateway spend`: what settled generations cost."""

import csv
import sys
from collections.abc import Sequence
from typing import Annotated, Literal

import typer
from sqlalchemy import Connection

from gateway import clock
from gateway.cli.access import in_database, put_json, put_table, settings
from gateway.clock import Calendar
from gateway.ledger.report import Grouping, Spent, month_so_far, spend
from gateway.moments import InvalidMoment, parse_day, require_order
from gateway.tenants.administration import find_tenant


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("spend")(spend_)


def spend_(
    tenant: Annotated[str | None, typer.Option(help="Only this tenant.", metavar="TENANT")] = None,
    since: Annotated[
        str, typer.Option("--from", help="First day, 2026-11-01; the month's first if not given.", metavar="DAY")
    ] = "",
    until: Annotated[str, typer.Option("--to", help="Last day; today if not given.", metavar="DAY")] = "",
    by: Annotated[Grouping, typer.Option(help="What to group by.")] = "model",
    format_: Annotated[Literal["table", "csv", "json"], typer.Option("--format", help="How to print.")] = "table",
) -> None:
    """Say what was spent, by day, model, tenant, provider or key, in days of GATEWAY_TIMEZONE."""
    configured = settings()
    month_first, today = month_so_far(Calendar(configured.zone).day(clock.now()))
    first, last = _day(since, month_first, "--from"), _day(until, today, "--to")
    try:
        require_order(first, last)
    except InvalidMoment as error:
        raise typer.BadParameter(str(error), param_hint="--to") from error
    rows = in_database(lambda connection: _rows(connection, by, first, last, tenant), configured)
    shown = [row.shown() for row in rows]
    if format_ == "json":
        put_json({"rows": shown})
        return
    columns = (by, "cost_yuan", "generations", "images_generated", "images_failed", "unknown")
    lines = [[str(row[column]) for column in columns] for row in shown]
    if format_ == "csv":
        csv.writer(sys.stdout, lineterminator="\n").writerows([columns, *lines])
        return
    put_table(
        [column.upper() for column in columns],
        lines,
        empty=f"nothing was spent between {first} and {last}",
        right=[column.upper() for column in columns[1:]],
    )


def _rows(connection: Connection, by: Grouping, first: str, last: str, tenant: str | None) -> Sequence[Spent]:
    """Add up. Raises NotFound for a tenant that is not there: nobody is to believe that it spent nothing."""
    if tenant is not None:
        find_tenant(connection, tenant)
    return spend(connection, by, first, last, tenant)


def _day(text: str, otherwise: str, option: str) -> str:
    try:
        return parse_day(text) if text else otherwise
    except InvalidMoment as error:
        raise typer.BadParameter(str(error), param_hint=option) from error
