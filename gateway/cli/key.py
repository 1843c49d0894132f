"""`gateway key`: the keys of a tenant."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import typer

from gateway import clock
from gateway.cli.access import ACTOR, administration, change, in_database, put, put_json, put_table, say, settings
from gateway.cli.options import takes
from gateway.clock import Millis
from gateway.moments import InvalidMoment, parse_end
from gateway.tenants.administration import list_keys
from gateway.tenants.policy import KeyPolicy
from gateway.tenants.tokens import revoke_token, revoke_user

TenantName = Annotated[str, typer.Argument(help="The tenant's name.", metavar="TENANT")]
KeyId = Annotated[str, typer.Argument(help="The key's id, as `gateway key list` shows it.", metavar="ID")]


def commands() -> typer.Typer:
    """Put the commands together."""
    app = typer.Typer(help="Keys: shown once when made, stored as a digest.", no_args_is_help=True)
    named: dict[str, Callable[..., None]] = {"create": create, "list": list_, "rotate": rotate, "revoke": revoke}
    for name, command in named.items():
        app.command(name)(command)
    return app


@takes(KeyPolicy)
def create(
    tenant: TenantName,
    label: Annotated[str, typer.Option(help="What the key is for.")] = "",
    expires: Annotated[
        str, typer.Option(help="When it ends: 90d, 12h, 30m, or 2027-01-31 in GATEWAY_TIMEZONE.", metavar="WHEN")
    ] = "",
    *,
    policy: Mapping[str, Any],
) -> None:
    """Make a key and print it. It is not shown again."""
    configured = settings()
    admin, expires_at = administration(configured), _end(expires, configured.zone)
    key, text = in_database(
        lambda connection: admin.create_key(connection, tenant, label=label, expires_at=expires_at, options=policy),
        configured,
    )
    put(text)
    say(f"key {key.id} of tenant {tenant}; keep it now, it is not shown again")


def list_(tenant: TenantName, *, json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """List a tenant's keys, without the keys themselves."""
    keys = in_database(lambda connection: list_keys(connection, tenant))
    if json:
        put_json([key.shown() for key in keys])
        return
    now = clock.now()
    put_table(
        ("ID", "LABEL", "STATE", "CREATED", "EXPIRES"),
        [
            (
                key.id,
                key.label,
                key.state(now),
                clock.iso(key.created_at),
                "-" if key.expires_at is None else clock.iso(key.expires_at),
            )
            for key in keys
        ],
        empty=f"no keys yet; make one with: gateway key create {tenant}",
    )


def rotate(key_id: KeyId) -> None:
    """Make a successor with the same limits and print it; the old key works for another 24 hours."""
    configured = settings()
    admin = administration(configured)
    key, text = change(lambda connection: admin.rotate_key(connection, key_id), configured)
    put(text)
    say(f"key {key.id} follows {key_id}, which works for another 24 hours at most")


def revoke(
    key_id: Annotated[str, typer.Argument(help="The id of a key or of a client token.", metavar="[ID]")] = "",
    *,
    tenant: Annotated[str, typer.Option(help="With --user: whose client tokens.", metavar="TENANT")] = "",
    user: Annotated[str, typer.Option(help="The end user whose client tokens are revoked.", metavar="USER")] = "",
) -> None:
    """Refuse a key with all its client tokens, one client token, or those of an end user, for good."""
    if (key_id != "") == (tenant != "" and user != "") or (tenant == "") != (user == ""):
        raise typer.BadParameter("give the ID of a key or client token, or both --tenant and --user")
    configured = settings()
    if user:
        number = change(lambda connection: revoke_user(connection, tenant, user, by=ACTOR), configured)
        say(f"client tokens of {user} revoked: {number}; refused everywhere within 5 seconds")
        return
    if key_id.startswith("tok_"):
        change(lambda connection: revoke_token(connection, key_id, by=ACTOR), configured)
    else:
        admin = administration(configured)
        change(lambda connection: admin.revoke_key(connection, key_id), configured)
    say(f"{key_id} revoked; refused everywhere within 5 seconds")


def _end(text: str, zone: ZoneInfo) -> Millis | None:
    if not text:
        return None
    try:
        return parse_end(text, clock.now(), zone)
    except InvalidMoment as error:
        raise typer.BadParameter(str(error), param_hint="--expires") from error
