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
from gateway.errors import Forbidden, GatewayError
from gateway.flow.budget import budget_of, over_budget
from gateway.flow.keep import Keeper, Kept
from gateway.flow.outcome import conclude
from gateway.flow.references import References
from gateway.flow.reply import Reply
from gateway.flow.supervisor import Supervisor
from gateway.ids import new_id
from gateway.ledger.ledger import Ledger
from gateway.ledger.records import Abandonment, Exhausted, Reservation, Settlement
from gateway.metrics import Metrics
from gateway.tenants.directory import Caller
from gateway.upstream.answer import Generated
from gateway.upstream.client import Answered, Upstream

NOTHING_KEPT = Kept((), 0, 0.0)


@dataclass(frozen=True, slots=True)
class Parts:
    """What the story is told with."""

    catalog: CatalogFile
    calendar: Calendar
    references: References
    supervisor: Supervisor
    ledger: Ledger
    upstream: Upstream
    upstream_timeout: float
    keeper: Keeper
    metrics: Metrics


@dataclass(frozen=True, slots=True)
class Job:
    """One generation that is about to happen."""

    caller: Caller
    ask: GenerateAsk
    model: Model
    reservation: Reservation
    began: float


class Generator:
    """Turns asks into replies."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def generate(self, caller: Caller, ask: GenerateAsk, request_id: str) -> Reply:
        """Generate, or raise the GatewayError that says why not."""
        began = time.monotonic()
        model = self._allowed_model(caller, ask)
        ask = await self._parts.references.resolve(ask, caller.tenant_id)
        job = Job(caller, ask, model, self._reservation(caller, ask, model, request_id), began)
        self._parts.supervisor.admit()
        return await self._parts.supervisor.run(self._work(job))

    def _allowed_model(self, caller: Caller, ask: GenerateAsk) -> Model:
        model = self._parts.catalog.current.find(ask.model)
        allowed = caller.policy.models
        if model is None or (allowed is not None and model.name not in allowed):
            raise Forbidden(f"Model {ask.model} is not allowed for this API key")
        return model

    def _reservation(self, caller: Caller, ask: GenerateAsk, model: Model, request_id: str) -> Reservation:
        now = clock.now()
        return Reservation(
            id=new_id("gen"),
            tenant_id=caller.tenant_id,
            key_id=caller.key_id,
            request_id=request_id,
            model=model.name,
            provider=model.provider,
            quote=model.price.quote(ask),
            ask=(ask if caller.policy.keep_prompts else replace(ask, prompt="")).summary(),
            fingerprint=hashlib.sha256(f"{caller.tenant_id}\n".encode() + ask.canonical()).hexdigest(),
            budget=budget_of(caller.policy),
            created_at=now,
            day=self._parts.calendar.day(now),
        )

    async def _work(self, job: Job) -> Reply:
        parts, asked = self._parts, job.reservation
        admission = await parts.ledger.reserve(asked)
        if isinstance(admission, Exhausted):
            raise over_budget(admission, asked, parts.calendar)
        booking: Settlement | Abandonment = Abandonment(asked.id, asked.tenant_id, "stopped before upstream answered")
        kept = NOTHING_KEPT
        try:
            wire = job.ask.wire() | {"model": job.model.name}
            answered = await parts.upstream.generate(wire, time.monotonic() + parts.upstream_timeout)
            conclusion = conclude(asked, answered, kept, clock.now())
            booking = conclusion.booking
            if isinstance(answered.answer, Generated):
                kept = await parts.keeper.keep(answered.answer.images, asked.id)
                conclusion = conclude(asked, answered, kept, clock.now())
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
