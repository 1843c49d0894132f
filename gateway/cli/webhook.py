"""`gateway webhook`: what tenants are told, whether it arrived, and the secrets that sign it."""

from collections.abc import Callable
from typing import Annotated

import typer
from sqlalchemy import Connection

from gateway import clock
from gateway.cli.access import endpoints, in_database, put, put_json, put_table, say, settings
from gateway.errors import NotFound
from gateway.tenants.administration import find_tenant
from gateway.webhooks.outbox import STATES, EventState, Stored, list_events, redeliver

ACTOR = "cli"
TenantName = Annotated[str, typer.Argument(help="The tenant's name.", metavar="TENANT")]
OfTenant = Annotated[str | None, typer.Option("--tenant", help="A tenant's alone.", metavar="TENANT")]


def commands() -> typer.Typer:
    """Put the commands together."""
    app = typer.Typer(help="Webhooks: the events of tenants that have a --webhook-url.", no_args_is_help=True)
    named: dict[str, Callable[..., None]] = {
        "list": list_,
        "redeliver": redeliver_,
        "rotate-secret": rotate_secret,
    }
    for name, command in named.items():
        app.command(name)(command)
    return app


def list_(
    tenant: OfTenant = None,
    state: Annotated[str | None, typer.Option(help="Those in a state.", metavar="|".join(STATES))] = None,
    *,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the newest 500 events: delivered ones are kept for 3 days, failed ones for 30."""
    chosen = _state(state)

    def work(connection: Connection) -> list[Stored]:
        if tenant is not None:
            find_tenant(connection, tenant)
        return list(list_events(connection, tenant=tenant, state=chosen))

    events = in_database(work)
    if json:
        put_json([event.shown() for event in events])
        return
    put_table(
        ("ID", "TENANT", "TYPE", "STATE", "TRIES", "CREATED", "NEXT TRY", "FAILURE"),
        [
            (
                event.id,
                event.tenant,
                event.type,
                event.state,
                str(event.attempts),
                clock.iso(event.created_at),
                clock.iso(event.due_at) if event.state == "waiting" else "-",
                event.failure or "-",
            )
            for event in events
        ],
        empty="no events",
    )


def redeliver_(
    event: Annotated[str | None, typer.Argument(help="The event's id.", metavar="[ID]")] = None,
    tenant: Annotated[
        str | None, typer.Option("--tenant", help="All of a tenant's that failed.", metavar="TENANT")
    ] = None,
) -> None:
    """Deliver an event once more, or all of a tenant's that failed, from the beginning of the schedule."""
    if (event is None) == (tenant is None):
        raise typer.BadParameter("give an event's ID, or --tenant")

    def work(connection: Connection) -> int:
        tenant_id = None if tenant is None else find_tenant(connection, tenant).id
        done = redeliver(connection, clock.now(), event=event, tenant_id=tenant_id)
        if event is not None and not done:
            raise NotFound(f"There is no event {event[:40]}")
        return done

    say(f"{in_database(work)} events will be delivered")


def rotate_secret(tenant: TenantName) -> None:
    """Give a tenant's endpoint a new secret and print it, once. The former one signs too for another 24 hours."""
    configured = settings()
    hooks = endpoints(configured)

    def work(connection: Connection) -> str:
        return hooks.rotate(connection, find_tenant(connection, tenant, to_change=True).id, by=ACTOR)

    put(in_database(work, configured))
    say("keep it now, it is not shown again; the former one signs too for another 24 hours")


def _state(text: str | None) -> EventState | None:
    for known in STATES:
        if text == known:
            return known
    if text is None:
        return None
    raise typer.BadParameter(f"must be one of {', '.join(STATES)}", param_hint="--state")
