"""One generation that is about to happen: who asks for what, and what the ledger will be told of it."""

import hashlib
from dataclasses import dataclass, replace

from gateway import clock
from gateway.catalog import Model
from gateway.clock import Calendar
from gateway.contract import GenerateAsk
from gateway.flow.budget import budget_of
from gateway.flow.call import Call
from gateway.ids import new_id
from gateway.ledger.records import Reservation
from gateway.tenants.directory import Caller


@dataclass(frozen=True, slots=True)
class Job:
    """Made before anything is asked of a store."""

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

    @property
    def prompts(self) -> bool:
        """Whether the tenant wants its prompts kept."""
        return self.caller.policy.keep_prompts

    def with_ask(self, ask: GenerateAsk) -> "Job":
        """Return the job for the same ask, its own links replaced by bytes: now the quote is that of their sizes."""
        return replace(self, ask=ask, reservation=replace(self.reservation, quote=self.model.price.quote(ask)))


def reservation_for(call: Call, caller: Caller, ask: GenerateAsk, model: Model, calendar: Calendar) -> Reservation:
    """Say what is to be reserved: under a new id, by a fingerprint within the tenant, at the most it may cost."""
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
        day=calendar.day(now),
        idempotency_key=call.idempotency_key,
    )


def _remembered(ask: GenerateAsk, canonical: bytes, *, prompts: bool) -> str:
    """Return what the ledger keeps of an ask: its canonical form without the version, which is the first line."""
    kept = canonical if prompts else replace(ask, prompt="").canonical()
    return kept.partition(b"\n")[2].decode()
