"""`gateway spend`: what was spent, and what replies that cost nothing saved."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal

import typer
from sqlalchemy import Connection

from gateway import clock
from gateway.cli.access import put_csv, put_json, put_table, settings, with_database
from gateway.clock import Calendar
from gateway.ledger.report import Grouping, Question, Spent, columns_of, month_so_far, spend
from gateway.moments import InvalidMoment, parse_day, require_order
from gateway.tenants.administration import find_tenant

ALWAYS_SHOWN = ("cost_yuan", "generations", "images_generated")
"""A table leaves out the other columns where nothing is in them."""


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("spend")(spend_)


def spend_(
    tenant: Annotated[str | None, typer.Option(help="Only this tenant.", metavar="TENANT")] = None,
    since: Annotated[
        str, typer.Option("--from", help="First day, 2026-11-01; the month's first if not given.", metavar="DAY")
    ] = "",
    until: Annotated[
        str, typer.Option("--to", help="Last day, which is included; today if not given.", metavar="DAY")
    ] = "",
    by: Annotated[Grouping, typer.Option(help="What to group by.")] = "model",
    format_: Annotated[Literal["table", "csv", "json"], typer.Option("--format", help="How to print.")] = "table",
) -> None:
    """Say what was spent and saved, in days of GATEWAY_TIMEZONE; a generation counts on the day of its reservation.

    The cost is that of settled generations; what unknown ones may cost on top is told apart.
    """
    configured = settings()
    month_first, today = month_so_far(Calendar(configured.zone).day(clock.now()))
    first, last = _day(since, month_first, "--from"), _day(until, today, "--to")
    try:
        require_order(first, last)
    except InvalidMoment as error:
        raise typer.BadParameter(str(error), param_hint="--to") from error
    question = Question(by, first, last)
    rows = with_database(lambda one: one.read(lambda connection: _rows(connection, question, tenant)), configured)
    shown = [row.shown() for row in rows]
    if format_ == "json":
        put_json({"rows": shown})
    elif format_ == "csv":
        put_csv(columns_of(by), [list(row.values()) for row in shown])
    else:
        _put_table(by, shown, empty=f"nothing was spent from {first} to {last}")


def _put_table(by: Grouping, shown: Sequence[dict[str, Any]], *, empty: str) -> None:
    nothing = Spent(by, None).shown()
    told = [
        column
        for column, none in nothing.items()
        if column in (by, *ALWAYS_SHOWN) or any(row[column] != none for row in shown)
    ]
    names = [column.upper() for column in told]
    lines = [["-" if row[column] is None else str(row[column]) for column in told] for row in shown]
    put_table(names, lines, empty=empty, right=names[1:])


def _rows(connection: Connection, question: Question, tenant: str | None) -> Sequence[Spent]:
    """Add up. Raises NotFound for a tenant that is not there: nobody is to believe that it spent nothing."""
    if tenant is not None:
        question = replace(question, tenant_id=find_tenant(connection, tenant).id)
    return spend(connection, question)


def _day(text: str, otherwise: str, option: str) -> str:
    try:
        return parse_day(text) if text else otherwise
    except InvalidMoment as error:
        raise typer.BadParameter(str(error), param_hint=option) from error
