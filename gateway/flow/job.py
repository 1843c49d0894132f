"""One generation that may have to happen: who asks for what, and what the ledger would be told of it."""

import hashlib
import time
from dataclasses import dataclass, field, replace

from gateway import clock
from gateway.catalog import Model
from gateway.clock import Calendar
from gateway.contract import GenerateAsk
from gateway.flow.budget import budget_of, caps_of
from gateway.flow.call import Call
from gateway.flow.ownership import own_key, user_of
from gateway.flow.scopes import scopes_of
from gateway.ids import new_id
from gateway.ledger.records import Reservation
from gateway.ledger.savings import Whose
from gateway.limits import Scopes
from gateway.redis_link import Patience
from gateway.tenants.directory import Caller


@dataclass(frozen=True, slots=True)
class Job:
    """Made before anything is asked of a store."""

    id: str
    """The generation's, if one is made."""
    fingerprint: str
    """The same for the same ask of the same tenant, and for no other."""
    call: Call
    caller: Caller
    ask: GenerateAsk
    model: Model
    scopes: Scopes
    idempotency_key: str | None
    """As the ledger knows it."""
    covered: bool
    """Whether the tenant's cache policy covers the ask."""
    canonical: bytes = field(repr=False)
    began: float

    @property
    def shared(self) -> bool:
        """Whether equal asks at the same time share one generation."""
        return self.covered and not self.call.directives.alone

    @property
    def prompts(self) -> bool:
        """Whether the tenant wants its prompts kept."""
        return self.caller.policy.keep_prompts

    def behind(self) -> "Job":
        """Return the same job for a request of its own, which has no idempotency key and waits for its answer."""
        call = replace(self.call, asynchronous=False, patience=Patience())
        return replace(self, id=new_id("gen"), idempotency_key=None, call=call)

    def reservation(self, calendar: Calendar) -> Reservation:
        """Say what is to be reserved: the most that the ask may cost, as it is now."""
        now = clock.now()
        # The first line is the version of the canonical form.
        kept = self.canonical if self.prompts else replace(self.ask, prompt="").canonical()
        return Reservation(
            id=self.id,
            tenant_id=self.caller.tenant_id,
            key_id=self.caller.key_id,
            request_id=self.call.request_id,
            model=self.model.name,
            provider=self.model.provider,
            quote=self.model.price.quote(self.ask),
            ask=kept.partition(b"\n")[2].decode(),
            fingerprint=self.fingerprint,
            budget=budget_of(self.caller.policy),
            created_at=now,
            day=calendar.day(now),
            idempotency_key=self.idempotency_key,
            caps=caps_of(self.caller),
            end_user=user_of(self.caller, self.call),
            announced=self.call.asynchronous and self.caller.policy.webhook_url is not None,
        )

    def whose(self, calendar: Calendar) -> Whose:
        """Say in whose row of today a reply counts that cost nothing."""
        caller, model, user = self.caller, self.model, user_of(self.caller, self.call)
        day, user = calendar.day(clock.now()), "" if user is None else user
        return Whose(day, caller.tenant_id, model.name, model.provider, caller.key_id, user)


def job_for(call: Call, caller: Caller, ask: GenerateAsk, model: Model, *, covered: bool) -> Job:
    """Say what is to be done; it begins now."""
    canonical = ask.canonical()
    several = f"\n{call.index}".encode() if call.index else b""  # the canonical form ends in a brace
    return Job(
        id=new_id("gen"),
        fingerprint=hashlib.sha256(f"{caller.tenant_id}\n".encode() + canonical + several).hexdigest(),
        call=call,
        caller=caller,
        ask=ask,
        model=model,
        scopes=scopes_of(caller),
        idempotency_key=own_key(caller, call.idempotency_key),
        covered=covered,
        canonical=canonical,
        began=time.monotonic(),
    )
