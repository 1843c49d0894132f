"""`gateway tenant`: the teams and applications that may use the gateway."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar

import typer
from sqlalchemy import Connection

from gateway.cli.access import administration, change, endpoints, in_database, put, put_json, put_table, say, settings
from gateway.cli.options import takes
from gateway.cli.usage import OptionalValues
from gateway.tenants.administration import Tenant, find_tenant, list_tenants
from gateway.tenants.policy import Policy, show

Name = Annotated[str, typer.Argument(help="The tenant's name.", metavar="TENANT")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


class WithPolicy(OptionalValues):
    """A command: `--shadow` alone is yes."""

    optional: ClassVar = {"--shadow": ("yes", lambda word: word in ("yes", "no"))}


def commands() -> typer.Typer:
    """Put the commands together."""
    app = typer.Typer(help="Tenants: who may use the gateway, and within which limits.", no_args_is_help=True)
    named: dict[str, Callable[..., None]] = {
        "create": create,
        "list": list_,
        "show": show_,
        "update": update,
        "disable": disable,
        "enable": enable,
    }
    for name, command in named.items():
        app.command(name, cls=WithPolicy)(command)
    return app


@takes(Policy)
def create(name: Name, *, policy: Mapping[str, Any]) -> None:
    """Make a tenant. An option that is not given is no limit. Prints the tenant's id."""
    configured = settings()
    admin, hooks = administration(configured), endpoints(configured)

    def work(connection: Connection) -> tuple[Tenant, str | None]:
        tenant = admin.create_tenant(connection, name, policy)
        return tenant, hooks.follow(connection, tenant.id, None, tenant.policy.webhook_url)

    tenant, secret = in_database(work, configured)
    put(tenant.id)
    _show_secret(secret)
    say(f"tenant {name} created; give it a key with: gateway key create {name}")


@takes(Policy)
def update(name: Name, *, policy: Mapping[str, Any]) -> None:
    """Change a tenant's policy; it takes effect within 5 seconds. '' takes a limit away."""
    if not policy:
        raise typer.BadParameter("give at least one option to change")
    configured = settings()
    admin, hooks = administration(configured), endpoints(configured)

    def work(connection: Connection) -> tuple[Tenant, str | None]:
        before = find_tenant(connection, name, to_change=True)
        after = admin.update_tenant(connection, name, policy)
        if "webhook_url" not in policy:
            return after, None
        return after, hooks.follow(connection, after.id, before.policy.webhook_url, after.policy.webhook_url)

    tenant, secret = change(work, configured)
    _print(tenant)
    _show_secret(secret)


def list_(*, json: Json = False) -> None:
    """List the tenants."""
    tenants = in_database(list_tenants)
    if json:
        put_json([tenant.shown() for tenant in tenants])
        return
    put_table(
        ("NAME", "ID", "STATE", "LIMITS"),
        [(one.name, one.id, "enabled" if one.disabled_at is None else "disabled", _limits(one)) for one in tenants],
        empty="no tenants yet; make one with: gateway tenant create NAME",
    )


def show_(name: Name, *, json: Json = False) -> None:
    """Show a tenant and its policy."""
    tenant = in_database(lambda connection: find_tenant(connection, name))
    if json:
        put_json(tenant.shown())
    else:
        _print(tenant)


def disable(name: Name) -> None:
    """Refuse all of a tenant's keys, within 5 seconds."""
    _switch(name, disabled=True)


def enable(name: Name) -> None:
    """Take a tenant's keys again."""
    _switch(name, disabled=False)


def _switch(name: str, *, disabled: bool) -> None:
    configured = settings()
    admin = administration(configured)
    change(lambda connection: admin.disable_tenant(connection, name, disabled=disabled), configured)
    say(f"tenant {name} {'disabled' if disabled else 'enabled'}; in effect within 5 seconds")


def _show_secret(secret: str | None) -> None:
    if secret is not None:
        say(f"webhook secret {secret}; keep it now, it is not shown again")


def _print(tenant: Tenant) -> None:
    shown = tenant.shown()
    rows: dict[str, Any] = {"name": tenant.name, "id": tenant.id, "created": shown["created_at"]}
    rows["state"] = "disabled" if shown["disabled"] else "enabled"
    for option, value in show(tenant.policy).items():
        rows[option] = _text(value)
    put_table(("OPTION", "VALUE"), [(option, str(value)) for option, value in rows.items()], empty="")


def _limits(tenant: Tenant) -> str:
    limits = {name: value for name, value in show(tenant.policy).items() if value not in (None, False)}
    limits = {name: value for name, value in limits.items() if (name, value) not in _DEFAULTS}
    return ", ".join(f"{name}={_text(value)}" for name, value in limits.items())


_DEFAULTS = (("image_format", "url"), ("cache", "seeded"), ("keep_prompts", True))


def _text(value: Any) -> str:
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case tuple():
            return ",".join(value)
        case _:
            return str(value)
