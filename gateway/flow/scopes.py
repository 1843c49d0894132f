"""A caller's limits, as the limiter wants them."""

from functools import lru_cache

from gateway.limits import Rate, Scope
from gateway.tenants.directory import Caller


@lru_cache(maxsize=1024)  # a caller is the same object for seconds; its limits are looked up twice a request
def scopes_of(caller: Caller) -> tuple[Scope, Scope | None]:
    """Return the scope of the tenant, and that of the key if it has limits of its own."""
    policy, own = caller.policy, caller.key_policy
    tenant = Scope(
        id=caller.tenant_id,
        name=caller.tenant,
        requests=_rate(policy.requests_per_minute, policy.burst),
        images=_rate(policy.images_per_minute, policy.burst),
        concurrency=policy.concurrency,
        shadow=policy.shadow,
    )
    if own.requests_per_minute is None and own.images_per_minute is None:
        return tenant, None
    key = Scope(
        id=caller.key_id,
        name=caller.tenant,
        requests=_rate(own.requests_per_minute, None),
        images=_rate(own.images_per_minute, None),
        shadow=policy.shadow,
    )
    return tenant, key


def _rate(per_minute: int | None, burst: int | None) -> Rate | None:
    if per_minute is None:
        return None
    return Rate(per_minute, None if burst is None else min(burst, per_minute))
