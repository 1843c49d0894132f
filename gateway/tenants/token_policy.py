"""What a client token may do: never more than the key that minted it, when it is minted and whenever it is used.

Pure. Minting refuses what is wider; use cuts whatever the tenant's policy allows by then to what the token was given.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from gateway.money import Micros, format_yuan
from gateway.tenants.policy import InvalidPolicy, KeyPolicy, Policy, read_option, stored

SHORTEST_SECONDS = 60
LONGEST_SECONDS = 3600
DEFAULT_SECONDS = 600
USER_LENGTH_MAX = 128

_LIKE = {"max_images": "requests_per_minute", "max_cost": "budget_total"}
"""Options that follow the rules of a tenant's."""


@dataclass(frozen=True, slots=True)
class TokenPolicy:
    """A client token's own limits, within those of its key and tenant. None is whatever those are."""

    models: tuple[str, ...] | None = None
    origins: tuple[str, ...] | None = None
    max_images: int | None = None
    max_cost: Micros | None = None
    requests_per_minute: int | None = None


@dataclass(frozen=True, slots=True)
class TokenAsk:
    """A token as it is asked for, and granted: for whom, for how many seconds, for what."""

    user: str | None
    expires_in: int
    policy: TokenPolicy


def read_token_ask(
    given: Mapping[str, Any], policy: Policy, key_policy: KeyPolicy, known_models: frozenset[str]
) -> TokenAsk:
    """Read the members of a body; null is the same as left out.

    Raises InvalidPolicy for what is unknown or malformed, and for what is wider than the tenant and the key.
    """
    options = [field.name for field in fields(TokenPolicy)]
    allowed = ("expires_in", "user", *options)
    if unknown := next((name for name in given if name not in allowed), None):
        raise InvalidPolicy(f"{unknown[:64]!r}: is no option of a client token, those are {', '.join(allowed)}")
    read = {
        name: read_option(name, value, known_models, like=_LIKE.get(name))
        for name, value in given.items()
        if name in options
    }
    token = TokenPolicy(**read)
    _require_within(token, policy, key_policy)
    return TokenAsk(_user(given.get("user")), _seconds(given.get("expires_in")), token)


def token_policy_from_text(text: str) -> TokenPolicy:
    """Read a token's policy from its row."""
    return TokenPolicy(**stored(text, TokenPolicy))


def narrowed(policy: Policy, token: TokenPolicy) -> Policy:
    """Return what is left of a tenant's policy, as it is now, for a token that was minted earlier."""
    if token.models is None and token.origins is None:
        return policy
    return replace(policy, models=_common(policy.models, token.models), origins=_origins(policy, token))


def _require_within(token: TokenPolicy, policy: Policy, key_policy: KeyPolicy) -> None:
    if (model := _beyond(token.models, token.models if policy.models is None else policy.models)) is not None:
        raise InvalidPolicy(f"models: {model} is not allowed for this API key")
    if (origin := _beyond(token.origins, () if policy.origins is None else policy.origins)) is not None:
        raise InvalidPolicy(f"origins: {origin} is not among the tenant's origins")
    rate = _least(policy.requests_per_minute, key_policy.requests_per_minute)
    if rate is not None and token.requests_per_minute is not None and token.requests_per_minute > rate:
        raise InvalidPolicy(f"requests_per_minute: must be at most {rate}, as this API key has")
    budget = _least(policy.budget_day, policy.budget_month, policy.budget_total)
    if budget is not None and token.max_cost is not None and token.max_cost > budget:
        raise InvalidPolicy(f"max_cost: must be at most {format_yuan(budget)}, as the tenant's budget is")


def _beyond(asked: tuple[str, ...] | None, allowed: tuple[str, ...] | None) -> str | None:
    """Return the first that is asked for and not allowed."""
    return None if asked is None or allowed is None else next((one for one in asked if one not in allowed), None)


def _least(*limits: int | None) -> int | None:
    return min((limit for limit in limits if limit is not None), default=None)


def _common(one: tuple[str, ...] | None, other: tuple[str, ...] | None) -> tuple[str, ...] | None:
    """Return what both allow, where None allows all."""
    if one is None or other is None:
        return other if one is None else one
    return tuple(name for name in other if name in one)


def _origins(policy: Policy, token: TokenPolicy) -> tuple[str, ...] | None:
    """Return the origins that both allow, where None of a tenant's is none, and None of a token's is the tenant's."""
    return None if policy.origins is None else _common(policy.origins, token.origins)


def _user(value: Any) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not 1 <= len(value) <= USER_LENGTH_MAX or not value.isprintable():
        raise InvalidPolicy(f"user: must be 1 to {USER_LENGTH_MAX} printable characters")
    return value


def _seconds(value: Any) -> int:
    if value is None:
        return DEFAULT_SECONDS
    if not isinstance(value, int) or isinstance(value, bool) or not SHORTEST_SECONDS <= value <= LONGEST_SECONDS:
        raise InvalidPolicy(f"expires_in: must be a whole number between {SHORTEST_SECONDS} and {LONGEST_SECONDS}")
    return value
