"""One try: a signed POST to a URL that a tenant's operator chose, so it is guarded like a link of upstream's.

https only (but at the operator's exceptions), no redirect, no cookie, no proxy of the environment; of the answer only
the status is read.
"""

import asyncio
from typing import Final

import aiohttp

from gateway import clock
from gateway.contract import retry_after
from gateway.guard import AddressRefused, Guard, open_session
from gateway.webhooks.claim import Claim
from gateway.webhooks.schedule import Tried
from gateway.webhooks.signature import Signer

SECONDS: Final = 15.0
CONNECTIONS_MAX: Final = 64


class Poster:
    """Makes tries over pooled connections. To be closed; belongs to one event loop."""

    def __init__(self, guard: Guard, signer: Signer) -> None:
        """Take the guard and who signs; nothing is opened before the first try."""
        self._guard = guard
        self._signer = signer
        self._session: aiohttp.ClientSession | None = None

    async def post(self, claimed: Claim, url: str) -> Tried:
        """Send an event once, of at most 15 s."""
        body, timestamp = claimed.body.encode(), clock.now() // 1000
        headers = {
            "webhook-id": claimed.id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": self._signer.sign(
                claimed.tenant_id, claimed.secrets, event=claimed.id, timestamp=timestamp, body=body
            ),
        }
        try:
            target = self._guard.target(url)
            async with (
                asyncio.timeout(SECONDS),
                self._opened().post(target.url, data=body, headers=headers, allow_redirects=False) as answer,
            ):
                return Tried(answer.status, _failure(answer.status), retry_after(answer.headers))
        except AddressRefused as refused:
            return Tried(None, f"refused: {refused}")
        except TimeoutError:
            return Tried(None, f"no answer within {SECONDS:.0f} s")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            # The error's own text may hold the URL, and that a secret.
            return Tried(None, type(error).__name__)

    async def close(self) -> None:
        """Close every connection."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = open_session(
                self._guard, limit=CONNECTIONS_MAX, headers={"Content-Type": "application/json"}
            )
        return self._session


def _failure(status: int) -> str | None:
    return None if 200 <= status < 300 else f"HTTP {status}"  # noqa: PLR2004 -- RFC 9110, 15.3
