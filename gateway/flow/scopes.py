"""A caller's limits, as the limiter wants them."""

from functools import lru_cache

from gateway.limits import Rate, Scope, Scopes
from gateway.tenants.directory import Caller


@lru_cache(maxsize=1024)  # a caller is the same object for seconds; its limits are looked up twice a request
def scopes_of(caller: Caller) -> Scopes:
    """Return the scope of the tenant, and those of the key and of the client token that have limits of their own."""
    policy, own, token = caller.policy, caller.key_policy, caller.token
    scopes = [
        Scope(
            id=caller.tenant_id,
            name=caller.tenant,
            requests=_rate(policy.requests_per_minute, policy.burst),
            images=_rate(policy.images_per_minute, policy.burst),
            concurrency=policy.concurrency,
            shadow=policy.shadow,
        )
    ]
    if own.requests_per_minute is not None or own.images_per_minute is not None:
        key = Scope(
            id=caller.key_id,
            name=caller.tenant,
            requests=_rate(own.requests_per_minute, None),
            images=_rate(own.images_per_minute, None),
            shadow=policy.shadow,
            kind="key",
        )
        scopes.append(key)
    if token is not None and token.policy.requests_per_minute is not None:
        # Enforced in shadow mode too: an operator tries limits out, but whoever minted a token meant what it says.
        rate = _rate(token.policy.requests_per_minute, None)
        scopes.append(Scope(id=token.id, name=caller.tenant, requests=rate, kind="token"))
    return tuple(scopes)


def _rate(per_minute: int | None, burst: int | None) -> Rate | None:
    if per_minute is None:
        return None
    return Rate(per_minute, None if burst is None else min(burst, per_minute))
