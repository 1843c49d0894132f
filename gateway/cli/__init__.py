"""The command line. What a script wants is alone on standard output, everything else on standard error.

Exit status: 0, 1 (refused: the text says why), 2 (usage).
"""

import sys

import typer

from gateway import __version__
from gateway.cli import check, demo, erase, images, key, reconcile, serve, simulate, spend, tenant, webhook
from gateway.cli.usage import reword
from gateway.database.migrate import NotMigrated
from gateway.errors import GatewayError, Misconfigured
from gateway.tenants.policy import InvalidPolicy


def commands() -> typer.Typer:
    """Put the commands together."""
    app = typer.Typer(
        name="gateway",
        help="A self-hosted gateway for image generation: one endpoint, kept images, an accounted yuan.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback(invoke_without_command=True)(_root)
    serve.add_to(app)
    demo.add_to(app)
    simulate.add_to(app)
    check.add_to(app)
    app.add_typer(tenant.commands(), name="tenant")
    app.add_typer(key.commands(), name="key")
    app.add_typer(webhook.commands(), name="webhook")
    spend.add_to(app)
    reconcile.add_to(app)
    erase.add_to(app)
    app.add_typer(images.commands(), name="images")
    reword(app)
    return app


def main() -> None:
    """Run the command that was asked for."""
    try:
        commands()()
    except Misconfigured as error:
        for fault in error.faults:
            _say(fault)
    except GatewayError as error:
        _say(error.text if error.detail is None else f"{error.text}: {error.detail}")
    except (InvalidPolicy, NotMigrated) as error:
        _say(str(error))
    else:
        return
    sys.exit(1)


def _say(text: str) -> None:
    sys.stderr.write(f"gateway: {text}\n")


def _root(*, version: bool = typer.Option(False, "--version", help="Print the version and exit.")) -> None:
    if version:
        sys.stdout.write(f"{__version__}\n")
        raise typer.Exit
