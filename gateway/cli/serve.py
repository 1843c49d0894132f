"""`gateway serve` and `gateway migrate`."""

import asyncio

import typer

from gateway import data_dir, server
from gateway.cli.access import say, settings
from gateway.database.migrate import HEAD, upgrade


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(serve)
    app.command()(migrate)
    app.command(hidden=True)(worker)


def serve() -> None:
    """Serve. Settings come from GATEWAY_… variables; see the README's table."""
    raise typer.Exit(server.serve(settings()))


def migrate() -> None:
    """Bring the database to the schema of this version."""
    configured = settings()
    data_dir.prepare(configured.data_dir)

    async def run() -> bool:
        database = data_dir.database_of(configured)
        try:
            return await database.write(upgrade)
        finally:
            await database.close()

    done = asyncio.run(run())
    say(f"database migrated to revision {HEAD}" if done else f"database is at revision {HEAD} already")


def worker(listener: int, ready: int, alive: int) -> None:
    """Serve as one of several workers; started by `serve` alone, with open files of its own."""
    raise typer.Exit(server.work(settings(), listener, ready, alive))
