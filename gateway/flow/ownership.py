"""What is whose within a tenant: a server key has all of it, a client token what is its end user's.

A token that names no user has what was asked for with it. Equal asks of one tenant still share replies through its
cache: that is the tenant's policy, and only of asks that it covers.
"""

import hashlib

from gateway.flow.call import Call
from gateway.ledger.find import Found
from gateway.tenants.directory import Caller


def user_of(caller: Caller, call: Call) -> str | None:
    """Return the end user: whom the client token names, or else the request of a server key."""
    return call.user if caller.token is None else caller.token.user


def owns(caller: Caller, found: Found) -> bool:
    """Say whether a generation is the caller's to see."""
    token = caller.token
    if found.tenant_id != caller.tenant_id or token is None:
        return found.tenant_id == caller.tenant_id
    return found.token_id == token.id if token.user is None else found.end_user == token.user


def end_user(caller: Caller) -> str | None:
    """Return what tells an end user of a tenant from the others; None for the tenant itself, with a server key."""
    token = caller.token
    if token is None:
        return None
    return f"token {token.id}" if token.user is None else f"user {token.user}"


def own_key(caller: Caller, idempotency_key: str | None) -> str | None:
    """Return an idempotency key as the ledger knows it: an end user's keys are apart from everybody else's.

    So nobody gets another's images, or learns of them, by guessing a key; and a user whose token was renewed repeats
    with the same one. The blank makes it a key that no server key can send.
    """
    owner = end_user(caller)
    if idempotency_key is None or owner is None:
        return idempotency_key
    return "client " + hashlib.sha256(f"{owner}\n{idempotency_key}".encode()).hexdigest()
