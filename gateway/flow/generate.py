"""The story of a generation: may it, was it made already, is it being made, and if not: make it.

The only place that knows this order. Everything from the limits of what runs to the settlement is one supervised task,
which the caller may leave; whatever happens in it, the reservation ends: settled, released or unknown.
"""

import asyncio
import time
from collections.abc import Coroutine
from dataclasses import dataclass, replace
from typing import Any

from gateway import clock
from gateway.catalog import CatalogFile, Model
from gateway.clock import Calendar
from gateway.contract import GenerateAsk
from gateway.errors import Forbidden, GatewayError, KeyReused, NotCached, StillRunning, Unavailable, UpstreamLost
from gateway.flow import told
from gateway.flow.attempt import Attempts
from gateway.flow.budget import over_budget
from gateway.flow.call import Call
from gateway.flow.job import Job, job_for
from gateway.flow.outcome import trailed
from gateway.flow.references import References
from gateway.flow.repeat import repeat
from gateway.flow.reply import Accepted, Reply, from_text, to_text
from gateway.flow.supervisor import Supervisor
from gateway.ledger.ledger import Ledger
from gateway.ledger.records import Capped, Duplicate, Exhausted, Repeat
from gateway.ledger.savings import Savings, Way
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
from gateway.spans import Spans
from gateway.tenants.directory import Caller

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
    savings: Savings
    attempts: Attempts
    keeps: bool
    """Whether images are kept: a cached reply names kept images, so without a store there is none."""
    metrics: Metrics
    spans: Spans


class Generator:
    """Turns asks into replies."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def generate(self, call: Call, caller: Caller, ask: GenerateAsk) -> Reply:
        """Generate for a caller who waits, or raise the GatewayError that says why not."""
        return _waited_for(await self.begin(call, caller, ask))

    async def begin(self, call: Call, caller: Caller, ask: GenerateAsk) -> Reply | Accepted:
        """Generate; an asynchronous call may come back accepted instead. Raises like `generate`.

        Where nothing is kept nobody could fetch the images later, so there the preference is not honoured.
        """
        call.asynchronous = call.asynchronous and self._parts.keeps
        job = self._job(call, caller, ask)
        if (known := await self._known(job)) is not None:
            return known
        if (hit := await self._hit(job)) is not None:
            return hit
        if not job.shared:
            return await self._made(job, None)
        return await self._shared(job)

    async def require_same(self, call: Call, caller: Caller, ask: GenerateAsk) -> None:
        """Return if the call's idempotency key is new or this ask's. Raises KeyReused, LedgerUnavailable."""
        job = self._job(call, caller, ask)
        if job.idempotency_key is not None:
            found = await self._parts.ledger.find_by_key(caller.tenant_id, job.idempotency_key)
            if found is not None and found.fingerprint != job.fingerprint:
                raise KeyReused

    def _job(self, call: Call, caller: Caller, ask: GenerateAsk) -> Job:
        """Say what is to be done, if the caller may ask for it at all."""
        model = self._allowed_model(caller, ask)
        ask = ask if ask.model == model.name else replace(ask, model=model.name)
        covered = self._parts.keeps and covers(caller.policy.cache, ask)
        return job_for(call, caller, ask, model, covered=covered)

    def _allowed_model(self, caller: Caller, ask: GenerateAsk) -> Model:
        model = self._parts.catalog.current.find(ask.model)
        allowed = caller.policy.models
        if model is None or (allowed is not None and model.name not in allowed):
            raise Forbidden(f"Model {ask.model} is not allowed for this API key")
        return model

    async def _known(self, job: Job) -> Reply | Accepted | None:
        """Answer an idempotency key that is known; None if there is none, or it is new."""
        call = job.call
        if job.idempotency_key is None:
            return None
        found = await self._parts.ledger.find_by_key(job.caller.tenant_id, job.idempotency_key)
        if found is None:
            return None
        call.waited = call.wait > 0 and found.state == "reserved"
        try:
            reply = await repeat(self._parts.ledger, found, job.fingerprint, call.wait)
        except StillRunning:
            if call.asynchronous:
                return Accepted(found.id)
            raise
        self._parts.savings.count(job.whose(self._parts.calendar), "replayed")
        return reply

    async def _hit(self, job: Job) -> Reply | None:
        """Count the request, and answer it from the cache if that is what policy and caller want: one Redis trip."""
        parts, call = self._parts, job.call
        looking = None
        if job.covered:
            looking = asyncio.create_task(parts.replies.look(job.caller.tenant_id, job.fingerprint, call.patience))
        with parts.spans("limits"):
            call.heed(await parts.limiter.take(job.scopes, job.id, call.patience))
        entry = None if looking is None else await looking
        age = None if entry is None else entry.age(clock.now())
        policy = job.caller.policy
        fresh = lifetime(policy.cache_ttl, policy.retention_days)
        call.decision = decide(call.directives, age, fresh, covered=job.covered)
        if isinstance(call.decision, OnlyIfCached):
            raise NotCached
        if entry is None or not isinstance(call.decision, Hit):
            return None
        return await self._free(job, from_text(entry.text, entry.generation_id, "hit"), entry.cost)

    async def _shared(self, job: Job) -> Reply | Accepted:
        """Lead the equal asks of this moment, or wait for the one who does; who does not wait, trails."""
        match await self._turn(job):
            case Lead() as lead:
                return await self._made(job, lead)
            case Followed(outcome=outcome):
                return await self._followed(job, outcome)
            case Overdue() if job.call.asynchronous:
                self._parts.supervisor.admit()
                return await self._done(job, self._trail(job))
            case Overdue():
                raise Unavailable("An identical request is still being generated", retry_after=2)

    async def _turn(self, job: Job) -> Lead | Followed | Overdue:
        tenant_id, since = job.caller.tenant_id, job.began
        deadline = since if job.call.asynchronous else since + LONGEST_WAIT
        return await self._parts.flights.lead_or_follow(
            tenant_id, (job.fingerprint, job.id), job.call.patience, since=since, deadline=deadline
        )

    async def _followed(self, job: Job, outcome: str) -> Reply:
        """Answer with what another request's generation came to."""
        job.call.collapsed = True
        try:
            reply, saved = told.outcome_from_text(outcome)
        except GatewayError as error:
            if job.idempotency_key is not None and told.keeps_key(error):
                kept = told.remembered(error, prompts=job.prompts)
                original = error.headers.get("X-Generation-Id")
                await self._remember(job, original, error=told.error_to_text(kept))
            raise
        return await self._free(job, reply, saved)

    async def _free(self, job: Job, reply: Reply, saved: Micros) -> Reply:
        """Count what a reply that was paid for earlier saved; remember it for its idempotency key."""
        if job.idempotency_key is not None:
            await self._remember(job, reply.generation_id, reply=to_text(reply, prompts=job.prompts))
        self._parts.metrics.add_cost_saved(job.caller.tenant, job.model.name, saved)
        way: Way = "hits" if reply.origin == "hit" else "collapsed"
        self._parts.savings.count(job.whose(self._parts.calendar), way, saved)
        return reply

    async def _remember(
        self, job: Job, original: str | None, *, reply: str | None = None, error: str | None = None
    ) -> None:
        """Leave a row that cost nothing for the idempotency key of a request that another's generation answered."""
        await self._parts.ledger.remember(Repeat(job.reservation(self._parts.calendar), reply, error, original))

    async def _trail(self, job: Job) -> Reply | Duplicate:
        """Do for a caller who does not wait what `_shared` does, in the name of a row that holds and costs nothing."""
        ledger, calendar = self._parts.ledger, self._parts.calendar
        asked = replace(job.reservation(calendar), quote=0, images=0)
        admission = await ledger.reserve(asked)
        if isinstance(admission, Exhausted | Capped):
            raise over_budget(admission, asked, calendar)
        if isinstance(admission, Duplicate):
            return admission
        job.call.reserved.set()
        came_to: Reply | GatewayError = UpstreamLost()
        try:
            came_to = _waited_for(await self._shared(job.behind()))
        except GatewayError as error:
            came_to = error
            raise
        finally:
            await ledger.settle(trailed(asked, came_to, clock.now(), prompts=job.prompts))
        return came_to

    async def _made(self, job: Job, lead: Lead | None) -> Reply | Accepted:
        """Make it; the caller may leave from here on."""
        try:
            self._parts.supervisor.admit()
            self._parts.attempts.admit(self._parts.supervisor.running)
        except Unavailable:
            if lead is not None:
                await self._parts.flights.finish(lead, None, job.call.patience)
            raise
        return await self._done(job, self._make(job, lead))

    async def _done(self, job: Job, work: Coroutine[Any, Any, Reply | Duplicate]) -> Reply | Accepted:
        """Hand work to the supervisor, and wait for it as long as the caller does."""
        call, task = job.call, self._parts.supervisor.start(work)
        if call.asynchronous:
            call.waited = call.wait > 0
            if await call.leaves(task, job.began + min(call.wait, LONGEST_WAIT)):
                return Accepted(job.id, task)
        made = await self._parts.supervisor.result(task)
        if isinstance(made, Reply):
            return made
        # Another request with the same idempotency key reserved a moment earlier.
        known = await self._known(job)
        if known is None:
            raise StillRunning(retry_after=1)
        return known

    async def _make(self, job: Job, lead: Lead | None) -> Reply | Duplicate:
        """Enter the limits of what runs, reserve, make the attempt, and pass on what came of it."""
        parts, patience = self._parts, job.call.patience
        outcome: Reply | GatewayError | None = None
        try:
            with parts.spans("limits"):
                job.call.heed(await parts.limiter.enter(job.scopes, job.id, IMAGES, patience))
            ask = await parts.references.resolve(job.ask, job.caller.tenant_id, job.call.room)
            job = job if ask is job.ask else replace(job, ask=ask)
            asked = job.reservation(parts.calendar)
            with parts.spans("reserve"):
                admission = await parts.ledger.reserve(asked)
            if isinstance(admission, Exhausted | Capped):
                raise over_budget(admission, asked, parts.calendar)
            if isinstance(admission, Duplicate):
                return admission
            job.call.reserved.set()
            # What others are told if this is stopped from here on.
            outcome = UpstreamLost(headers={"X-Generation-Id": job.id})
            outcome = await parts.attempts.make(job, asked)
            if isinstance(outcome, GatewayError):
                raise outcome
            await self._store(job, outcome)
            return outcome
        finally:
            leaving = parts.limiter.leave(job.id, patience)
            if lead is None:
                await leaving
            else:
                text = None if outcome is None else told.outcome_to_text(outcome, prompts=job.prompts)
                await asyncio.gather(leaving, parts.flights.finish(lead, text, patience))

    async def _store(self, job: Job, reply: Reply) -> None:
        """Store a complete reply for the next one who asks the same."""
        if not job.covered or job.call.directives.no_store or reply.passed or reply.images_failed:
            return
        entry = Entry(to_text(reply, prompts=job.prompts), reply.generation_id, clock.now(), reply.cost)
        policy, spent = job.caller.policy, time.monotonic() - job.began
        seconds = lifetime(policy.cache_ttl, policy.retention_days, spent=spent)
        keeping = self._parts.replies.keep(job.caller.tenant_id, job.fingerprint, entry, seconds, job.call.patience)
        job.call.stored = await keeping


def _waited_for(answer: Reply | Accepted) -> Reply:
    assert isinstance(answer, Reply)  # noqa: S101 -- only an asynchronous call is ever accepted
    return answer
