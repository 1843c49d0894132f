"""The story of a generation: may it, what may it cost, reserve, ask upstream, keep the images, settle.

The only place that knows this order. Everything from the reservation to the settlement is one supervised task, which
the caller may leave; whatever happens in it, the reservation ends in `finally`: settled, released or unknown.
"""

import hashlib
import time
from dataclasses import dataclass, replace

from gateway import clock
from gateway.catalog import CatalogFile, Model
from gateway.clock import Calendar
from gateway.contract import GenerateAsk
from gateway.errors import Forbidden, GatewayError, StillRunning
from gateway.flow.budget import budget_of, over_budget
from gateway.flow.call import Call
from gateway.flow.keep import NOTHING_KEPT, Keeper, Kept
from gateway.flow.outcome import conclude
from gateway.flow.references import References
from gateway.flow.repeat import repeat
from gateway.flow.reply import Reply
from gateway.flow.scopes import scopes_of
from gateway.flow.supervisor import Supervisor
from gateway.ids import new_id
from gateway.ledger.ledger import Ledger
from gateway.ledger.records import Abandonment, Duplicate, Exhausted, Reservation, Settlement
from gateway.limits import Limiter
from gateway.metrics import Metrics
from gateway.tenants.directory import Caller
from gateway.upstream.answer import Generated
from gateway.upstream.client import Answered, Upstream

IMAGES = 1
"""The contract has no field that asks for more than one."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What the story is told with."""

    catalog: CatalogFile
    calendar: Calendar
    references: References
    limiter: Limiter
    supervisor: Supervisor
    ledger: Ledger
    upstream: Upstream
    upstream_timeout: float
    keeper: Keeper
    metrics: Metrics


@dataclass(frozen=True, slots=True)
class Job:
    """One generation that is about to happen."""

    call: Call
    caller: Caller
    ask: GenerateAsk
    model: Model
    reservation: Reservation
    began: float


class Generator:
    """Turns asks into replies."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def generate(self, call: Call, caller: Caller, ask: GenerateAsk) -> Reply:
        """Generate, or raise the GatewayError that says why not."""
        parts, began = self._parts, time.monotonic()
        model = self._allowed_model(caller, ask)
        ask = await parts.references.resolve(replace(ask, model=model.name), caller.tenant_id)
        asked = self._reservation(call, caller, ask, model)
        if (known := await self._known(call, asked)) is not None:
            return known
        call.heed(await parts.limiter.take(*scopes_of(caller), asked.id, call.patience))
        parts.supervisor.admit()
        return await parts.supervisor.run(self._work(Job(call, caller, ask, model, asked, began)))

    def _allowed_model(self, caller: Caller, ask: GenerateAsk) -> Model:
        model = self._parts.catalog.current.find(ask.model)
        allowed = caller.policy.models
        if model is None or (allowed is not None and model.name not in allowed):
            raise Forbidden(f"Model {ask.model} is not allowed for this API key")
        return model

    def _reservation(self, call: Call, caller: Caller, ask: GenerateAsk, model: Model) -> Reservation:
        now = clock.now()
        return Reservation(
            id=new_id("gen"),
            tenant_id=caller.tenant_id,
            key_id=caller.key_id,
            request_id=call.request_id,
            model=model.name,
            provider=model.provider,
            quote=model.price.quote(ask),
            ask=(ask if caller.policy.keep_prompts else replace(ask, prompt="")).summary(),
            fingerprint=hashlib.sha256(f"{caller.tenant_id}\n".encode() + ask.canonical()).hexdigest(),
            budget=budget_of(caller.policy),
            created_at=now,
            day=self._parts.calendar.day(now),
            idempotency_key=call.idempotency_key,
        )

    async def _known(self, call: Call, asked: Reservation) -> Reply | None:
        """Answer an idempotency key that is known; None if there is none, or it is new."""
        if call.idempotency_key is None:
            return None
        found = await self._parts.ledger.find_by_key(asked.tenant_id, call.idempotency_key)
        return None if found is None else await repeat(self._parts.ledger, found, asked.fingerprint, call.wait)

    async def _work(self, job: Job) -> Reply:
        """Enter the limits of what runs, reserve, and do the work that is then paid for."""
        parts, asked = self._parts, job.reservation
        try:
            job.call.heed(await parts.limiter.enter(*scopes_of(job.caller), asked.id, IMAGES, job.call.patience))
            admission = await parts.ledger.reserve(asked)
            if isinstance(admission, Exhausted):
                raise over_budget(admission, asked, parts.calendar)
            if isinstance(admission, Duplicate):
                return await self._lost_race(job)
            return await self._paid(job)
        finally:
            await parts.limiter.leave(asked.id, job.call.patience)

    async def _lost_race(self, job: Job) -> Reply:
        """Answer for another request with the same idempotency key, which reserved a moment earlier."""
        known = await self._known(job.call, job.reservation)
        if known is None:
            raise StillRunning(retry_after=1)
        return known

    async def _paid(self, job: Job) -> Reply:
        parts, asked = self._parts, job.reservation
        booking: Settlement | Abandonment = Abandonment(asked.id, asked.tenant_id, "stopped before upstream answered")
        kept, prompts = NOTHING_KEPT, job.caller.policy.keep_prompts
        try:
            answered = await parts.upstream.generate(job.ask.wire(), time.monotonic() + parts.upstream_timeout)
            conclusion = conclude(asked, answered, kept, clock.now(), prompts=prompts)
            booking = conclusion.booking
            if isinstance(answered.answer, Generated):
                kept = await parts.keeper.keep(answered.answer.images, asked.id)
                conclusion = conclude(asked, answered, kept, clock.now(), prompts=prompts)
                booking = conclusion.booking
        finally:
            await self._book(job, booking)
        self._observe(job, answered, kept)
        if isinstance(conclusion.result, GatewayError):
            raise conclusion.result
        return conclusion.result

    async def _book(self, job: Job, booking: Settlement | Abandonment) -> None:
        """Tell the ledger, and count a bill once, from the very figure that the ledger has."""
        if isinstance(booking, Abandonment):
            await self._parts.ledger.abandon(booking)
            return
        if not await self._parts.ledger.settle(booking):
            return
        metrics, tenant, model = self._parts.metrics, job.caller.tenant, job.model
        if booking.bill.cost:
            metrics.add_cost(tenant, model.name, model.provider, booking.bill.cost)
        if booking.bill.alarming:
            metrics.unusable_costs.labels(model.name).inc()
        for outcome, images in (("generated", booking.images_generated), ("failed", booking.images_failed)):
            if images:
                metrics.images.labels(metrics.tenants.of(tenant), model.name, model.provider, outcome).inc(images)

    def _observe(self, job: Job, answered: Answered, kept: Kept) -> None:
        metrics, took = self._parts.metrics, time.monotonic() - job.began
        metrics.upstream_seconds.labels(job.model.provider).observe(answered.seconds)
        metrics.request_seconds.observe(took)
        metrics.overhead_seconds.observe(max(0.0, took - answered.seconds - kept.fetch_seconds))
