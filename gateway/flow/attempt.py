"""The paid part of a generation: ask upstream, keep the images, settle. Whatever happens, the reservation ends."""

import time

from gateway import clock
from gateway.errors import GatewayError
from gateway.flow.job import Job
from gateway.flow.keep import NOT_YET_KEPT, NOTHING_KEPT, Keeper, Kept
from gateway.flow.outcome import conclude
from gateway.flow.reply import Reply
from gateway.flow.stages import Stages
from gateway.ledger.ledger import Ledger
from gateway.ledger.records import Abandonment, Reservation, Settlement
from gateway.metrics import Metrics
from gateway.spans import Spans
from gateway.upstream.answer import Generated
from gateway.upstream.client import Answered, Upstream


class Attempts:
    """Makes attempts, of at most `seconds` at upstream each."""

    def __init__(
        self,
        upstream: Upstream,
        keeper: Keeper,
        ledger: Ledger,
        stages: Stages,
        metrics: Metrics,
        *,
        seconds: float,
        spans: Spans,
    ) -> None:
        self._upstream = upstream
        self._seconds = seconds
        self._keeper = keeper
        self._ledger = ledger
        self._stages = stages
        self._metrics = metrics
        self._spans = spans

    def admit(self, running: int) -> None:
        """Return if what one more may bring could be kept, beside those that run. Raises Unavailable."""
        self._keeper.admit(running)

    async def make(self, job: Job, asked: Reservation) -> Reply | GatewayError:
        """Make the attempt that is reserved; return what the caller is told.

        What is booked is decided anew at each step, so that being stopped in between books what is true by then.
        """
        booking: Settlement | Abandonment = Abandonment(asked.id, asked.tenant_id, "stopped before upstream answered")
        try:
            self._stages.enter(job.id, "generating")
            with self._spans("upstream"):
                answered = await self._upstream.generate(job.ask.wire(), time.monotonic() + self._seconds)
            conclusion = conclude(asked, answered, NOT_YET_KEPT, clock.now(), prompts=job.prompts)
            booking = conclusion.booking
            kept = NOTHING_KEPT
            if isinstance(answered.answer, Generated):
                self._stages.enter(job.id, "keeping")
                kept = await self._keeper.keep(answered.answer.images, asked.id)
                conclusion = conclude(asked, answered, kept, clock.now(), prompts=job.prompts)
                booking = conclusion.booking
        finally:
            try:
                with self._spans("settle"):
                    await self._book(job, booking)
            finally:
                self._stages.leave(job.id)
        self._observe(job, answered, kept)
        return conclusion.result

    async def _book(self, job: Job, booking: Settlement | Abandonment) -> None:
        """Tell the ledger, and count a bill once, from the very figure that the ledger has."""
        if isinstance(booking, Abandonment):
            await self._ledger.abandon(booking)
            return
        job.call.cost = booking.bill.cost
        if not await self._ledger.settle(booking):
            return
        metrics, tenant, model = self._metrics, job.caller.tenant, job.model
        if booking.bill.cost:
            metrics.add_cost(tenant, model.name, model.provider, booking.bill.cost)
        if booking.bill.alarming:
            metrics.unusable_costs.labels(model.name).inc()
        for outcome, images in (("generated", booking.images_generated), ("failed", booking.images_failed)):
            if images:
                metrics.images.labels(metrics.tenants.of(tenant), model.name, model.provider, outcome).inc(images)

    def _observe(self, job: Job, answered: Answered, kept: Kept) -> None:
        metrics, call, took = self._metrics, job.call, time.monotonic() - job.began
        call.upstream_seconds = answered.seconds + kept.fetch_seconds
        call.overhead_seconds = max(0.0, took - call.upstream_seconds)
        metrics.upstream_seconds.labels(job.model.provider).observe(answered.seconds)
        metrics.request_seconds.observe(took)
        metrics.overhead_seconds.observe(call.overhead_seconds)
