"""`gateway images verify`: whether the kept images are there, byte for byte."""

from collections.abc import Sequence
from typing import Annotated

import typer
from prometheus_client import CollectorRegistry

from gateway.app import store_of
from gateway.cli.access import put_json, put_table, say, settings, with_database
from gateway.database.engine import Database
from gateway.errors import Misconfigured, Unavailable
from gateway.flow.verify import Damage
from gateway.flow.verify import verify as verify_images
from gateway.images.store import Store, StoreUnavailable
from gateway.metrics import Metrics

SAMPLE = 100


def commands() -> typer.Typer:
    """Put the commands together."""
    app = typer.Typer(help="Images: what is kept.", no_args_is_help=True)
    app.callback()(_group)
    app.command("verify")(verify)
    return app


def _group() -> None:
    """Look after what is kept."""


def verify(
    sample: Annotated[int, typer.Option(min=1, max=10_000_000, help="How many to draw at random.")] = SAMPLE,
    *,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Read a sample of the kept images again and hash them. Missing or altered ones: exit status 1."""
    configured = settings()
    store = store_of(configured, Metrics(CollectorRegistry()))
    if store is None:
        raise Misconfigured(["GATEWAY_STORAGE_URL: is none, so no image is kept"])
    looked, damaged = with_database(lambda database: _verify(database, store, sample), configured)
    if json:
        put_json({"looked": looked, "rows": [one.shown() for one in damaged]})
    elif damaged:
        _print(damaged)
    say(f"{looked} images looked at, {len(damaged)} missing or altered")
    if damaged:
        raise typer.Exit(1)


async def _verify(database: Database, store: Store, sample: int) -> tuple[int, Sequence[Damage]]:
    try:
        return await verify_images(database, store, sample)
    except StoreUnavailable as error:
        raise Unavailable("The image store is away", detail=str(error)) from error
    finally:
        await store.close()


def _print(damaged: Sequence[Damage]) -> None:
    columns = ("image", "tenant", "generation", "damage")
    lines = [[str(one.shown()[column]) for column in columns] for one in damaged]
    put_table([column.upper() for column in columns], lines, empty="")
