"""The story of a generation: may it, what may it cost, reserve, ask upstream, keep the images, settle.

The only place that knows this order. Everything from the reservation to the settlement is one supervised task, which
the caller may leave; whatever happens in it, the reservation ends in `finally`: settled, released or unknown.
"""

import asyncio
import hashlib
import time
from dataclasses import dataclass, replace

from gateway import clock
from gateway.catalog import CatalogFile, Model
from gateway.clock import Calendar
from gateway.contract import GenerateAsk
from gateway.errors import Forbidden, GatewayError, NotCached, StillRunning, Unavailable, UpstreamLost
from gateway.flow import shared
from gateway.flow.budget import budget_of, over_budget
from gateway.flow.call import Call
from gateway.flow.keep import NOTHING_KEPT, Keeper, Kept
from gateway.flow.outcome import conclude
from gateway.flow.references import References
from gateway.flow.repeat import repeat
from gateway.flow.reply import Reply, from_text, to_text
from gateway.flow.scopes import scopes_of
from gateway.flow.supervisor import Supervisor
from gateway.ids import new_id
from gateway.ledger.ledger import Ledger
from gateway.ledger.records import Abandonment, Duplicate, Exhausted, Repeat, Reservation, Settlement
from gateway.limits import Limiter
from gateway.metrics import Metrics
from gateway.money import Micros
from gateway.replies import (
    Entry,
    Flights,
    Followed,
    Hit,
    Lead,
    OnlyIfCached,
    Overdue,
    Replies,
    covers,
    decide,
    lifetime,
)
from gateway.tenants.directory import Caller
from gateway.upstream.answer import Generated
from gateway.upstream.client import Answered, Upstream

LONGEST_WAIT = 600.0
"""Seconds a request waits for the generation of an identical one."""

IMAGES = 1
"""The contract has no field that asks for more than one."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What the story is told with."""

    catalog: CatalogFile
    calendar: Calendar
    references: References
    limiter: Limiter
    replies: Replies
    flights: Flights
    supervisor: Supervisor
    ledger: Ledger
    upstream: Upstream
    upstream_timeout: float
    keeper: Keeper
    keeps: bool
    """Whether images are kept: a cached reply names kept images, so without a store there is none."""
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
    covered: bool
    """Whether the tenant's cache policy covers the ask."""

    @property
    def shared(self) -> bool:
        """Whether equal asks at the same time share one generation."""
        return self.covered and not self.call.directives.alone


class Generator:
    """Turns asks into replies."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def generate(self, call: Call, caller: Caller, ask: GenerateAsk) -> Reply:
        """Generate, or raise the GatewayError that says why not."""
        parts, began = self._parts, time.monotonic()
        model = self._allowed_model(caller, ask)
        ask = await parts.references.resolve(replace(ask, model=model.name), caller.tenant_id)
        covered = parts.keeps and covers(caller.policy.cache, ask)
        job = Job(call, caller, ask, model, self._reservation(call, caller, ask, model), began, covered)
        if (known := await self._known(job)) is not None:
            return known
        if (hit := await self._hit(job)) is not None:
            return hit
        if not job.shared:
            return await self._supervised(job, None)
        turn = await parts.flights.lead_or_follow(
            caller.tenant_id, job.reservation.fingerprint, call.patience, since=began, deadline=began + LONGEST_WAIT
        )
        match turn:
            case Lead():
                return await self._supervised(job, turn)
            case Followed(outcome=outcome):
                call.collapsed = True
                return await self._free(job, *shared.read(outcome))
            case Overdue():
                raise Unavailable("An identical request is still being generated", retry_after=2)

    def _allowed_model(self, caller: Caller, ask: GenerateAsk) -> Model:
        model = self._parts.catalog.current.find(ask.model)
        allowed = caller.policy.models
        if model is None or (allowed is not None and model.name not in allowed):
            raise Forbidden(f"Model {ask.model} is not allowed for this API key")
        return model

    def _reservation(self, call: Call, caller: Caller, ask: GenerateAsk, model: Model) -> Reservation:
        now = clock.now()
        canonical = ask.canonical()
        return Reservation(
            id=new_id("gen"),
            tenant_id=caller.tenant_id,
            key_id=caller.key_id,
            request_id=call.request_id,
            model=model.name,
            provider=model.provider,
            quote=model.price.quote(ask),
            ask=_remembered(ask, canonical, prompts=caller.policy.keep_prompts),
            fingerprint=hashlib.sha256(f"{caller.tenant_id}\n".encode() + canonical).hexdigest(),
            budget=budget_of(caller.policy),
            created_at=now,
            day=self._parts.calendar.day(now),
            idempotency_key=call.idempotency_key,
        )

    async def _known(self, job: Job) -> Reply | None:
        """Answer an idempotency key that is known; None if there is none, or it is new."""
        call, asked = job.call, job.reservation
        if call.idempotency_key is None:
            return None
        found = await self._parts.ledger.find_by_key(asked.tenant_id, call.idempotency_key)
        if found is None:
            return None
        call.waited = call.wait > 0 and found.state == "reserved"
        return await repeat(self._parts.ledger, found, asked.fingerprint, call.wait)

    async def _hit(self, job: Job) -> Reply | None:
        """Count the request, and answer it from the cache if that is what policy and caller want: one Redis trip."""
        parts, call, asked = self._parts, job.call, job.reservation
        taking = parts.limiter.take(*scopes_of(job.caller), asked.id, call.patience)
        entry = None
        if job.covered:
            looking = parts.replies.look(asked.tenant_id, asked.fingerprint, call.patience)
            verdict, entry = await asyncio.gather(taking, looking)
        else:
            verdict = await taking
        call.heed(verdict)
        age = None if entry is None else entry.age(clock.now())
        call.decision = decide(call.directives, age, lifetime(job.caller.policy.cache_ttl, None), covered=job.covered)
        if isinstance(call.decision, OnlyIfCached):
            raise NotCached
        if entry is None or not isinstance(call.decision, Hit):
            return None
        return await self._free(job, from_text(entry.text, entry.generation_id, "hit"), entry.cost)

    async def _free(self, job: Job, reply: Reply, saved: Micros) -> Reply:
        """Count what a reply that was paid for earlier saved; remember it for its idempotency key."""
        self._parts.metrics.add_cost_saved(job.caller.tenant, job.model.name, saved)
        if job.call.idempotency_key is not None:
            text = to_text(reply, prompts=job.caller.policy.keep_prompts)
            await self._parts.ledger.remember(Repeat(job.reservation, text))
        return reply

    async def _supervised(self, job: Job, lead: Lead | None) -> Reply:
        """Hand the work to the supervisor; the caller may leave from here on."""
        try:
            self._parts.supervisor.admit()
        except Unavailable:
            if lead is not None:
                await self._parts.flights.finish(lead, None, job.call.patience)
            raise
        return await self._parts.supervisor.run(self._work(job, lead))

    async def _work(self, job: Job, lead: Lead | None) -> Reply:
        """Enter the limits of what runs, reserve, do the work that is then paid for, and share its outcome."""
        parts, asked, patience = self._parts, job.reservation, job.call.patience
        outcome: str | None = None
        try:
            job.call.heed(await parts.limiter.enter(*scopes_of(job.caller), asked.id, IMAGES, patience))
            admission = await parts.ledger.reserve(asked)
            if isinstance(admission, Exhausted):
                raise over_budget(admission, asked, parts.calendar)
            if isinstance(admission, Duplicate):
                return await self._lost_race(job)
            outcome = shared.write(UpstreamLost())
            result = await self._paid(job)
            outcome = shared.write(result)
            if isinstance(result, GatewayError):
                raise result
            await self._store(job, result)
            return result
        finally:
            leaving = parts.limiter.leave(asked.id, patience)
            if lead is None:
                await leaving
            else:
                await asyncio.gather(leaving, parts.flights.finish(lead, outcome, patience))

    async def _lost_race(self, job: Job) -> Reply:
        """Answer for another request with the same idempotency key, which reserved a moment earlier."""
        known = await self._known(job)
        if known is None:
            raise StillRunning(retry_after=1)
        return known

    async def _store(self, job: Job, reply: Reply) -> None:
        """Keep a complete reply for the next one who asks the same."""
        if not job.covered or job.call.directives.no_store or reply.pending or reply.images_failed:
            return
        text = to_text(reply, prompts=job.caller.policy.keep_prompts)
        entry = Entry(text, reply.generation_id, clock.now(), reply.cost)
        seconds = lifetime(job.caller.policy.cache_ttl, None)
        asked = job.reservation
        job.call.stored = await self._parts.replies.keep(
            asked.tenant_id, asked.fingerprint, entry, seconds, job.call.patience
        )

    async def _paid(self, job: Job) -> Reply | GatewayError:
        """Ask upstream, keep the images, settle: whatever happens, the reservation ends."""
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


def _remembered(ask: GenerateAsk, canonical: bytes, *, prompts: bool) -> str:
    """Return what the ledger keeps of an ask: its canonical form without the version, which is the first line."""
    kept = canonical if prompts else replace(ask, prompt="").canonical()
    return kept.partition(b"\n")[2].decode()
