"""What `gateway demo` does: a simulated upstream, the gateway, a tenant, a key, a sample call of each kind, a page."""

import asyncio
import contextlib
import socket
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import uvicorn
from rich.console import Console
from sqlalchemy import Connection

from gateway import data_dir
from gateway.app import build
from gateway.cli.access import administration, in_database
from gateway.cli.demo_text import TRY_IT
from gateway.errors import NameTaken
from gateway.life import Server
from gateway.logs import configure
from gateway.sample import backend
from gateway.server import serve_alone
from gateway.settings import Settings, load
from gateway.simulator import SimulatorConfig, server

TENANT = "demo"
UPSTREAM_KEY = "simulated-upstream-key"
HOST = "127.0.0.1"
PAGE_PORT = 8081
PROMPTS = {
    "flux-2-pro": "A cat asleep on a window sill, watercolour, soft light",
    "gemini-2.5-flash-image": "一只可爱的小猫在阳光下玩耍,摄影风格,柔和光线",
}


async def run(data: Path, port: int) -> int:
    """Run it until it is stopped; return the exit status."""
    data_dir.prepare(data)
    simulator = server(SimulatorConfig(keys=(UPSTREAM_KEY,), bill_path=data / "upstream-bill.jsonl"), HOST, 0)
    simulating = asyncio.create_task(simulator.serve())
    try:
        await _listening(simulator, simulating)
        settings = _settings(data, port, simulator.port)
        configure(settings.log_level, settings.log_format)
        data_dir.lock(data)
        gateway = build(settings)
        page = f"http://{HOST}:{_free(PAGE_PORT)}"
        key = await asyncio.to_thread(_key, settings, page)
        listening = asyncio.Event()
        living = asyncio.create_task(serve_alone(gateway, listening.set))
        showing = asyncio.create_task(_show(settings, key, page, listening))
        await asyncio.wait({living, showing}, return_when=asyncio.FIRST_COMPLETED)
        if showing.done():
            showing.result()
        else:
            showing.cancel()
            await asyncio.wait([showing])
        return await living
    finally:
        simulator.should_exit = True
        with contextlib.suppress(asyncio.CancelledError):
            await simulating


def _settings(data: Path, port: int, upstream_port: int) -> Settings:
    """Make the embedded defaults, whatever the environment names: a demo touches nobody's ledger."""
    upstream = f"{HOST}:{upstream_port}"
    return load(
        {
            "GATEWAY_UPSTREAM_URL": f"http://{upstream}",
            "GATEWAY_UPSTREAM_API_KEYS": UPSTREAM_KEY,
            "GATEWAY_FETCH_ALLOW": upstream,
            "GATEWAY_DATA_DIR": str(data),
            "GATEWAY_HOST": HOST,
            "GATEWAY_PORT": str(_free(port)),
            "GATEWAY_METRICS_PORT": str(_free(9400)),
            "GATEWAY_LOG_LEVEL": "warning",
            "GATEWAY_LOG_FORMAT": "console",
        }
    )


def _free(port: int) -> int:
    """Return the port, or another one if it is taken."""
    for candidate in (port, 0):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((HOST, candidate))
            return int(probe.getsockname()[1])
    raise OSError("no free port")


async def _listening(one: uvicorn.Server, serving: asyncio.Task[Any]) -> None:
    """Return once a server listens, or has failed to."""
    while not one.started and not serving.done():  # noqa: ASYNC110 -- uvicorn tells it by a flag, not by an event
        await asyncio.sleep(0.01)


async def _show(settings: Settings, key: str, page: str, listening: asyncio.Event) -> None:
    """Make an image of each kind, and say what to try next; then serve the page for as long as it is let."""
    console = Console(highlight=False, soft_wrap=True)
    await listening.wait()
    console.print(f"\n[bold]The gateway serves at[/bold] {settings.link_base}")
    console.print(f"  tenant {TENANT}, key [bold]{key}[/bold]")
    console.print(f"  metrics at http://{settings.metrics_host}:{settings.metrics_port}/metrics")
    async with httpx.AsyncClient(base_url=settings.link_base, timeout=30, trust_env=False) as client:
        for model, prompt in PROMPTS.items():
            answer = await client.post(
                "/images/generate",
                headers={"Authorization": f"Bearer {key}"},
                json={"model": model, "prompt": prompt, "aspect_ratio": "16:9"},
            )
            body: dict[str, Any] = answer.raise_for_status().json()
            sent = "a link that expires" if body["provider"] == "flux" else "megabytes of Base64"
            console.print(f"\n[bold]{model}[/bold], which upstream answers with {sent}:")
            console.print(f"  prompt  {prompt}")
            console.print(f"  kept    {body['data'][0]['image']}")
            console.print(f"  cost    {answer.headers['X-Cost-Yuan']} yuan")
    application, port = backend(settings.link_base, key, page), urlsplit(page).port or 0
    serving = Server(uvicorn.Config(application, HOST, port, lifespan="off", log_config=None, access_log=False))
    pages = asyncio.create_task(serving.serve())
    try:
        await _listening(serving, pages)
        text = TRY_IT.format(url=settings.link_base, key=key, page=page, data=settings.data_dir)
        console.print(text, markup=False)
        await asyncio.shield(pages)
    finally:
        serving.should_exit = True
        await asyncio.wait([pages])


def _key(settings: Settings, page: str) -> str:
    """Make the tenant, whose page may call, and a key of it."""
    admin = administration(settings)

    def made(connection: Connection) -> str:
        with contextlib.suppress(NameTaken):
            admin.create_tenant(connection, TENANT, {})
        admin.update_tenant(connection, TENANT, {"origins": [page]})
        return admin.create_key(connection, TENANT, label="demo")[1]

    return in_database(made, settings)
