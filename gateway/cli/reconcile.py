"""`gateway reconcile`: what is done about generations whose outcome is unknown."""

from datetime import UTC, datetime
from typing import Annotated

import typer
from sqlalchemy import Connection

from gateway import clock
from gateway.cli.access import in_database, put_json, put_table, say
from gateway.clock import Millis
from gateway.errors import NotFound
from gateway.ledger.bill import FREE, Bill
from gateway.ledger.records import Settlement
from gateway.ledger.unknown import decide, list_unknown
from gateway.money import InvalidAmount, format_yuan, parse_yuan
from gateway.tenants.administration import record


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("reconcile")(reconcile)


def reconcile(
    settle: Annotated[
        tuple[str, str] | None, typer.Option(help="Settle one at what upstream billed.", metavar="ID YUAN")
    ] = None,
    void: Annotated[str | None, typer.Option(help="Release one that upstream did not bill.", metavar="ID")] = None,
    tenant: Annotated[str | None, typer.Option(help="Only this tenant's.")] = None,
    before: Annotated[str, typer.Option(help="Only those begun before: 2026-11-22 or 2026-11-22T08:00Z.")] = "",
    *,
    settle_quoted: Annotated[bool, typer.Option("--settle-quoted", help="Settle all of them at their quote.")] = False,
    void_all: Annotated[bool, typer.Option("--void-all", help="Release all of them.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the generations whose outcome is unknown, or settle or release them. Their holds count until then."""
    if sum((settle is not None, void is not None, settle_quoted, void_all)) > 1:
        raise typer.BadParameter("give one of --settle, --void, --settle-quoted and --void-all")
    moment = _moment(before)
    if settle is not None:
        _decide_one(settle[0], Bill("exact", _amount(settle[1])))
    elif void is not None:
        _decide_one(void, FREE)
    elif settle_quoted or void_all:
        if tenant is None and moment is None:
            raise typer.BadParameter("say which: --tenant, --before, or both")
        done = in_database(lambda connection: _decide_many(connection, tenant, moment, None if settle_quoted else FREE))
        say(f"{done} generations {'settled at their quote' if settle_quoted else 'released'}")
    else:
        _list(tenant, moment, json=json)


def _list(tenant: str | None, before: Millis | None, *, json: bool) -> None:
    rows = in_database(lambda connection: list_unknown(connection, tenant=tenant, before=before))
    columns = ("id", "tenant", "model", "quote_yuan", "created_at", "failure")
    shown = [
        (row.id, row.tenant, row.model, format_yuan(row.quote), clock.iso(row.created_at), row.failure) for row in rows
    ]
    if json:
        put_json({"rows": [dict(zip(columns, row, strict=True)) for row in shown]})
    else:
        put_table([column.upper() for column in columns], shown, empty="no generation is unknown", right=["QUOTE_YUAN"])


def _decide_one(generation: str, bill: Bill) -> None:
    def work(connection: Connection) -> None:
        rows = list_unknown(connection, generation=generation)
        if not rows:
            raise NotFound(f"There is no unknown generation {generation[:40]}")
        _record(connection, decide(connection, rows, bill, clock.now(), by="cli"))

    in_database(work)
    say(f"{generation} {'released' if bill is FREE else f'settled at {format_yuan(bill.cost)} yuan'}")


def _decide_many(connection: Connection, tenant: str | None, before: Millis | None, bill: Bill | None) -> int:
    done = 0
    while rows := list_unknown(connection, tenant=tenant, before=before):
        decided = decide(connection, rows, bill, clock.now(), by="cli")
        _record(connection, decided)
        done += len(decided)
    return done


def _record(connection: Connection, decided: list[Settlement]) -> None:
    for one in decided:
        state = "released" if one.bill is FREE else "settled"
        after = {"state": state, "cost_yuan": format_yuan(one.bill.cost)}
        record(connection, "cli", "generation.reconcile", one.id, before={"state": "unknown"}, after=after)


def _amount(text: str) -> int:
    try:
        return parse_yuan(text)
    except InvalidAmount as error:
        raise typer.BadParameter(str(error), param_hint="--settle") from error


def _moment(text: str) -> Millis | None:
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter("must be a day or a moment: 2026-11-22T08:00Z", param_hint="--before") from error
    return int((moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp() * 1000)
