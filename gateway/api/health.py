"""`GET /livez`: the process lives. `GET /readyz`: it may be sent traffic, and what is degraded."""

import asyncio
from dataclasses import dataclass

import orjson
from fastapi import APIRouter
from starlette.responses import Response

from gateway.database.engine import Database, ping
from gateway.errors import LedgerUnavailable
from gateway.flow.supervisor import Supervisor

PATIENCE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class HealthRoute:
    """Health, without a key and without a trace in the metrics."""

    database: Database
    supervisor: Supervisor

    def router(self) -> APIRouter:
        """Return the routes."""
        router = APIRouter()
        router.add_api_route("/livez", self.livez, methods=["GET", "HEAD"], response_model=None)
        router.add_api_route("/readyz", self.readyz, methods=["GET", "HEAD"], response_model=None)
        return router

    async def livez(self) -> Response:
        """Say that the event loop turns; touches nothing."""
        return Response(b'{"status":"alive"}', media_type="application/json")

    async def readyz(self) -> Response:
        """Say whether generations can be taken now."""
        if self.supervisor.draining:
            return _answer("draining", ready=False)
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await self.database.read(ping)
        except (LedgerUnavailable, TimeoutError):
            return _answer("ledger unavailable", ready=False)
        return _answer("ready", ready=True)


def _answer(status: str, *, ready: bool) -> Response:
    return Response(orjson.dumps({"status": status}), 200 if ready else 503, media_type="application/json")
