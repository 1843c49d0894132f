"""`gateway reconcile`: what is done about generations whose outcome is unknown, and whether an invoice agrees."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import typer
from sqlalchemy import Connection

from gateway.cli.access import ACTOR, in_database, put_json, put_table, say, settings, with_database
from gateway.cli.invoice import compare
from gateway.cli.usage import OptionalValues
from gateway.clock import Millis
from gateway.database.engine import Database
from gateway.ledger.bill import FREE, Bill
from gateway.ledger.unknown import Unknown, decide_all, decide_one, list_unknown
from gateway.moments import InvalidMoment, parse_moment
from gateway.money import InvalidAmount, Micros, format_yuan, parse_yuan
from gateway.tenants.administration import find_tenant

ALL = "(all)"
"""What `--void` says when no id follows. No id looks like it, and an empty shell variable does not either."""


class Reconcile(OptionalValues):
    """The command: `--void` without an id is all of them."""

    optional: ClassVar = {"--void": (ALL, lambda word: not word.startswith("-"))}


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("reconcile", cls=Reconcile)(reconcile)


def reconcile(
    settle: Annotated[
        tuple[str, str] | None, typer.Option(help="Settle one at what upstream billed.", metavar="ID YUAN")
    ] = None,
    void: Annotated[
        str | None, typer.Option(help="Release one that upstream did not bill; without ID, all.", metavar="[ID]")
    ] = None,
    tenant: Annotated[str | None, typer.Option(help="Only this tenant's.", metavar="TENANT")] = None,
    before: Annotated[
        str,
        typer.Option(
            help="Only those begun before: 2026-11-22 or 2026-11-22T08:00 in GATEWAY_TIMEZONE, or 2026-11-22T08:00Z.",
            metavar="WHEN",
        ),
    ] = "",
    *,
    settle_quoted: Annotated[bool, typer.Option("--settle-quoted", help="Settle all of them at their quote.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    invoice: Annotated[
        Path | None,
        typer.Option(help="Compare an upstream statement with the ledger: CSV with date, model, count, cost."),
    ] = None,
    since: Annotated[str, typer.Option("--from", help="The invoice's first day.", metavar="DAY")] = "",
    until: Annotated[str, typer.Option("--to", help="Its last day, which is included.", metavar="DAY")] = "",
    timezone: Annotated[
        str, typer.Option(help="Where the invoice's days begin; GATEWAY_TIMEZONE if not given.", metavar="ZONE")
    ] = "",
    format_: Annotated[Literal["table", "csv", "json"] | None, typer.Option("--format", help="How to print.")] = None,
) -> None:
    """List the generations whose outcome is unknown, or settle or release them. Their holds count until then.

    All of them are those that --tenant and --before choose.

    With --invoice: print where an upstream statement says something else than the ledger; then the exit status is 1.
    """
    if sum((settle is not None, void is not None, settle_quoted, invoice is not None)) > 1:
        raise typer.BadParameter("give one of --settle, --void, --settle-quoted and --invoice")
    if invoice is not None:
        if tenant is not None or before:
            raise typer.BadParameter("an invoice is of all tenants: leave out --tenant and --before")
        form = format_ if format_ is not None else "json" if json else "table"
        compare(invoice, first=since, last=until, zone=timezone, form=form)
        return
    if since or until or timezone or format_ is not None:
        raise typer.BadParameter("--from, --to, --timezone and --format go with --invoice")
    moment = _moment(before)
    if settle is not None:
        _decide_one(settle[0], Bill("exact", _amount(settle[1])))
    elif settle_quoted or void == ALL:
        _decide_all(tenant, moment, None if settle_quoted else FREE)
    elif void is not None:
        _decide_one(void, FREE)
    else:
        _list(tenant, moment, json=json)


def _list(tenant: str | None, before: Millis | None, *, json: bool) -> None:
    def find(connection: Connection) -> Sequence[Unknown]:
        _require(connection, tenant)
        return list_unknown(connection, tenant=tenant, before=before)

    unknown = in_database(find)
    shown = [one.shown() for one in unknown]
    if json:
        put_json({"rows": shown})
        return
    columns = ("id", "tenant", "model", "quote_yuan", "created_at", "failure")
    lines = [["-" if row[column] is None else str(row[column]) for column in columns] for row in shown]
    put_table([column.upper() for column in columns], lines, empty="no generation is unknown", right=["QUOTE_YUAN"])


def _decide_one(generation: str, bill: Bill) -> None:
    in_database(lambda connection: decide_one(connection, generation, bill, by=ACTOR))
    say(f"{generation} {'released' if bill == FREE else f'settled at {format_yuan(bill.cost)} yuan'}")


def _decide_all(tenant: str | None, before: Millis | None, bill: Bill | None) -> None:
    if tenant is None and before is None:
        raise typer.BadParameter("say which: --tenant, --before, or both")

    async def decide(database: Database) -> int:
        await database.read(lambda connection: _require(connection, tenant))
        return await decide_all(database, bill, tenant=tenant, before=before, by=ACTOR)

    done = with_database(decide)
    say(f"{done} generations {'settled at their quote' if bill is None else 'released'}")


def _require(connection: Connection, tenant: str | None) -> None:
    """Raise NotFound for a tenant that is not there: a misspelt one must not look like one without unknowns."""
    if tenant is not None:
        find_tenant(connection, tenant)


def _amount(text: str) -> Micros:
    try:
        return parse_yuan(text)
    except InvalidAmount as error:
        raise typer.BadParameter(str(error), param_hint="--settle") from error


def _moment(text: str) -> Millis | None:
    try:
        return parse_moment(text, settings().zone) if text else None
    except InvalidMoment as error:
        raise typer.BadParameter(str(error), param_hint="--before") from error
