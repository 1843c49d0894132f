"""What an answer of upstream's means, for the ledger and for the caller. Pure."""

from dataclasses import dataclass
from decimal import Decimal
from typing import assert_never

from gateway.clock import Millis
from gateway.errors import (
    GatewayError,
    RefusedByUpstream,
    UpstreamBusy,
    UpstreamFailed,
    UpstreamLost,
    UpstreamSilent,
    UpstreamUnreached,
)
from gateway.flow.keep import Kept
from gateway.flow.reply import KeptImage, Reply, to_text
from gateway.flow.told import error_to_text, keeps_key, remembered
from gateway.ledger.bill import FREE, Bill, bill_for
from gateway.ledger.records import Abandonment, Reservation, Settlement
from gateway.money import Micros
from gateway.upstream.answer import (
    AccountFault,
    Busy,
    Garbage,
    Generated,
    Lost,
    NotConnected,
    Refused,
    ServerFault,
)
from gateway.upstream.client import Answered

SHORTEST_WAIT = 2
LONGEST_WAIT = 60


@dataclass(frozen=True, slots=True)
class Conclusion:
    """What the ledger is to be told, and what the caller gets."""

    booking: Settlement | Abandonment
    result: Reply | GatewayError


def conclude(asked: Reservation, answered: Answered, kept: Kept, moment: Millis, *, prompts: bool) -> Conclusion:
    """Conclude a generation from its answer and from what became of its images; `prompts` may be kept or not."""
    if isinstance(answered.answer, Generated):
        return _generated(asked, answered, answered.answer, kept, moment, prompts=prompts)
    failed = _failed(answered.answer, asked.quote)
    failed.error.headers["X-Generation-Id"] = asked.id
    if failed.bill is None:
        booking: Settlement | Abandonment = Abandonment(asked.id, asked.tenant_id, str(failed.error), answered.account)
    else:
        kept_error = remembered(failed.error, prompts=prompts)
        booking = Settlement(
            id=asked.id,
            tenant_id=asked.tenant_id,
            bill=failed.bill,
            settled_at=moment,
            account=answered.account,
            failure=str(kept_error),
            error=error_to_text(kept_error),
            frees_key=failed.frees_key,
        )
    return Conclusion(booking, failed.error)


def _generated(
    asked: Reservation, answered: Answered, answer: Generated, kept: Kept, moment: Millis, *, prompts: bool
) -> Conclusion:
    """Settle work that upstream did, whether or not an image of it is left to answer with."""
    bill = bill_for(answer.cost, asked.quote)
    reply = Reply(
        generation_id=asked.id,
        model=asked.model if answer.model is None else answer.model,
        provider=asked.provider if answer.provider is None else answer.provider,
        images=kept.images,
        images_failed=answer.images_failed + kept.failed,
        cost=bill.cost,
    )
    error = None
    if not kept.images:
        text = (
            "The gateway stopped while it kept the images"
            if kept.unfinished
            else "The image provider returned no usable image"
        )
        error = UpstreamFailed(text, headers={"X-Generation-Id": asked.id})
    settlement = Settlement(
        id=asked.id,
        tenant_id=asked.tenant_id,
        bill=bill,
        settled_at=moment,
        answered_model=reply.model,
        provider=reply.provider,
        account=answered.account,
        images_generated=len(kept.images),
        images_failed=reply.images_failed,
        images=[image for image in kept.images if isinstance(image, KeptImage)],
        reply=to_text(reply, prompts=prompts) if error is None else None,
        failure=None if error is None else str(error),
        error=None if error is None else error_to_text(error),
    )
    return Conclusion(settlement, reply if error is None else error)


def trailed(asked: Reservation, came_to: Reply | GatewayError, moment: Millis, *, prompts: bool) -> Settlement:
    """Settle the row of a request whose answer another's generation was: it cost nothing, whatever that came to."""
    if isinstance(came_to, GatewayError):
        kept_error = remembered(came_to, prompts=prompts)
        return Settlement(
            id=asked.id,
            tenant_id=asked.tenant_id,
            bill=FREE,
            settled_at=moment,
            failure=str(kept_error),
            error=error_to_text(kept_error),
            frees_key=not keeps_key(came_to),
            of=came_to.headers.get("X-Generation-Id"),
        )
    return Settlement(
        id=asked.id,
        tenant_id=asked.tenant_id,
        bill=Bill("exact", 0),
        settled_at=moment,
        answered_model=came_to.model,
        provider=came_to.provider,
        reply=to_text(came_to, prompts=prompts),
        of=came_to.generation_id,
    )


@dataclass(frozen=True, slots=True)
class _Failed:
    """Without a bill it is not known what it cost, so the hold stays and nothing is tried again."""

    error: GatewayError
    bill: Bill | None
    frees_key: bool = False


def _failed(
    answer: Refused | AccountFault | Busy | ServerFault | Garbage | NotConnected | Lost, quote: Micros
) -> _Failed:
    match answer:
        case Refused(text=text, cost=cost):
            return _Failed(RefusedByUpstream(text or None), _bill_of_error(cost, quote))
        case AccountFault(detail=detail, cost=cost):
            text = "The image provider is not available to this gateway right now"
            return _Failed(UpstreamFailed(text, detail=detail), _bill_of_error(cost, quote), frees_key=True)
        case Busy(retry_after=seconds, cost=cost):
            wait = SHORTEST_WAIT if seconds is None else min(max(SHORTEST_WAIT, int(seconds) + 1), LONGEST_WAIT)
            return _Failed(UpstreamBusy(retry_after=wait), _bill_of_error(cost, quote), frees_key=True)
        case ServerFault(detail=detail, cost=cost):
            return _Failed(UpstreamFailed(detail=detail), _bill_of_error(cost, quote), frees_key=True)
        case NotConnected(timeout=True):
            return _Failed(UpstreamUnreached(), FREE, frees_key=True)
        case NotConnected():
            text = "The image provider could not be reached"
            return _Failed(UpstreamBusy(text, retry_after=SHORTEST_WAIT), FREE, frees_key=True)
        case Garbage(detail=detail):
            return _Failed(UpstreamLost(UpstreamFailed.public, detail=detail), None)
        case Lost(timeout=True, detail=detail):
            return _Failed(UpstreamSilent(detail=detail), None)
        case Lost(detail=detail):
            return _Failed(UpstreamLost(detail=detail), None)
        case _:
            assert_never(answer)


def _bill_of_error(cost: Decimal | None, quote: Micros) -> Bill:
    """Bill an error answer: free, unless upstream named a cost in it."""
    return FREE if cost is None else bill_for(cost, quote)
