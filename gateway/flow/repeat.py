"""A repeated Idempotency-Key: the generation it belongs to is answered again, and never sent again.

The record is the generation's row. https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/
"""

import asyncio
import time

from gateway.errors import GatewayError, Gone, KeyReused, NotFound, StillRunning, UpstreamFailed, UpstreamSilent
from gateway.flow.reply import Reply, from_text
from gateway.flow.told import error_from_text
from gateway.ledger.find import Found
from gateway.ledger.ledger import Ledger

POLL_SECONDS = 0.25
RETRY_SECONDS = 2
LONGEST_WAIT = 180.0


async def repeat(ledger: Ledger, found: Found, fingerprint: str, wait: float) -> Reply:
    """Answer what the first request was answered, charged nothing; wait for it at most so many seconds.

    Raises KeyReused for another request's key, StillRunning, or the error that the first request ended in.
    """
    if found.fingerprint != fingerprint:
        raise KeyReused
    found = await ended(ledger, found, wait)
    headers = {"X-Generation-Id": found.id}
    if found.state == "reserved":
        headers["Location"] = f"/generations/{found.id}"
        raise StillRunning(retry_after=RETRY_SECONDS, headers=headers)
    headers["Idempotent-Replayed"] = "true"
    if found.state == "unknown":
        text = "The outcome of the first request is unknown; a new Idempotency-Key would pay anew"
        raise UpstreamSilent(text, headers=headers)
    if found.reply is None:
        raise failure(found, headers)
    reply = from_text(found.reply, found.id, "replayed")
    if not reply.images:
        raise not_kept(headers)
    return reply


def not_kept(headers: dict[str, str]) -> GatewayError:
    """Return what is said of a generation whose images were given to whoever waited, and to nobody else."""
    return NotFound("The images of the first request were not kept", headers=headers)


def failure(found: Found, headers: dict[str, str]) -> GatewayError:
    """Return what a generation that has ended without a reply ended in."""
    if found.state == "unknown":
        text = "The outcome of the generation is unknown: it may have been billed, and is not tried again"
        return UpstreamSilent(text, headers=headers)
    if found.erased:
        return Gone(headers=headers)
    if found.error is not None:
        return error_from_text(found.error, headers)
    return UpstreamFailed("The generation was ended by hand", headers=headers)


async def ended(ledger: Ledger, found: Found, wait: float) -> Found:
    """Return the generation once it has ended, or as it is after so many seconds."""
    deadline = time.monotonic() + min(wait, LONGEST_WAIT)
    while found.state == "reserved" and (left := deadline - time.monotonic()) > 0:
        await asyncio.sleep(min(POLL_SECONDS, left))
        again = await ledger.find(found.id)
        if again is None:
            break
        found = again
    return found
