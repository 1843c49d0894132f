"""`gateway simulate-upstream`: an upstream with this contract."""

from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.access import say
from gateway.errors import Misconfigured
from gateway.simulator import FAULTS, InvalidFault, SimulatorConfig, run


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    faults = "\n\n".join(f"\\[{name}] {text}" for name, text in FAULTS.items())
    app.command("simulate-upstream", epilog=f"Faults, as markers in a prompt:\n\n{faults}")(simulate)


def simulate(
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.", min=0, max=65535)] = 9000,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    key: Annotated[list[str] | None, typer.Option(help="A key that is good; may be repeated. All, if none.")] = None,
    bill: Annotated[Path | None, typer.Option(help="Append-only file of what was billed.")] = None,
    faults: Annotated[Path | None, typer.Option(help="JSON file of scripted faults.")] = None,
    link_seconds: Annotated[float, typer.Option(help="How long links work.", min=0)] = 600,
    delay: Annotated[float, typer.Option(help="Seconds every generation takes.", min=0)] = 0,
    image: Annotated[str, typer.Option(help="asked, tiny, none, or a size such as 256x256.")] = "asked",
    public_url: Annotated[str | None, typer.Option(help="What links begin with.")] = None,
) -> None:
    """Simulate the upstream: real images, expiring links, its own bill, faults on demand."""
    try:
        config = SimulatorConfig(
            keys=() if key is None else tuple(key),
            bill_path=bill,
            faults_path=faults,
            link_seconds=link_seconds,
            delay=delay,
            image=image,
            public_url=public_url,
        )
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--image") from error
    say(f"simulating upstream on http://{host}:{port}/images/generate")
    try:
        run(config, host, port)
    except (InvalidFault, OSError) as error:
        raise Misconfigured([str(error)]) from error
