"""`gateway demo`: the whole of it on one machine, with nothing to set up and nothing to pay."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer
import uvloop

Data = Annotated[Path, typer.Option("--data-dir", help="Where the demo keeps its ledger and its images.")]
Port = Annotated[int, typer.Option(help="The gateway's port; another one if it is taken.", min=1, max=65535)]


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(demo)


def demo(data: Data = Path("var-demo"), port: Port = 8080) -> None:
    """Run the gateway against a simulated upstream, make an image of each kind, then keep serving."""
    from gateway.cli.demo_run import run  # noqa: PLC0415 -- no other command is to carry what only the demo needs

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        raise typer.Exit(runner.run(run(data, port)))
