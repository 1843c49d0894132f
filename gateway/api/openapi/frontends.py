"""Client tokens, described."""

from typing import Any

from gateway.api.openapi.words import (
    COUNT,
    MOMENT,
    TEXT,
    YUAN,
    Json,
    answer,
    failures,
    json_body,
    listed,
    nullable,
    operation,
    parameter,
    record,
    schema,
)
from gateway.tenants.token_policy import LONGEST_SECONDS, SHORTEST_SECONDS, USER_LENGTH_MAX

_TAG = "client tokens"
_EXAMPLE: Json = {"user": "ann", "expires_in": 600, "max_images": 4, "max_cost": "1.00"}
_POSITIVE: Json = {"type": "integer", "minimum": 1, "maximum": 1_000_000}


def paths() -> dict[str, Any]:
    """Describe minting and revoking."""
    limits = ("RateLimit", "RateLimit-Policy")
    made = answer("The token, shown once", {"schema": schema("NewToken")}, *limits, "Cache-Control")
    mint = operation(
        "Mint a client token for a browser",
        {"201": made, **failures(401, 408, 413, 415, 429, said=limits)},
        tag=_TAG,
        details="What is left out is the key's own; what is wider than the key is refused.",
        body=json_body(schema("TokenRequest"), example=_EXAMPLE),
    )
    user = parameter("query", "user", "The end user", {"type": "string", "minLength": 1}, required=True)
    token = parameter("path", "token_id", "The token's id", {"type": "string", "minLength": 1}, required=True)
    count = answer("How many there were", {"schema": record({"revoked": COUNT})}, "Cache-Control")
    revoke_user = operation(
        "Revoke every token of an end user",
        {"200": count, **failures(401, 429)},
        tag=_TAG,
        parameters=[user],
    )
    revoke = operation(
        "Revoke a token",
        {"204": answer("It is refused from now on", None), **failures(401, 404, 429)},
        tag=_TAG,
        parameters=[token],
    )
    return {"/tokens": {"post": mint, "delete": revoke_user}, "/tokens/{token_id}": {"delete": revoke}}


def schemas() -> dict[str, Any]:
    """Return what minting takes and answers."""
    asked = {
        "expires_in": nullable({"type": "integer", "minimum": SHORTEST_SECONDS, "maximum": LONGEST_SECONDS}),
        "user": nullable({"type": "string", "minLength": 1, "maxLength": USER_LENGTH_MAX}),
        "models": nullable(listed(TEXT)),
        "origins": nullable(listed(TEXT)),
        "max_images": nullable(_POSITIVE),
        "max_cost": nullable({"type": "string", "examples": ["1.00"], "description": "An amount of yuan"}),
        "requests_per_minute": nullable(_POSITIVE),
    }
    granted = {
        **asked,
        "max_cost": nullable(YUAN),
        "token": TEXT,
        "id": TEXT,
        "expires_at": MOMENT,
    }
    del granted["expires_in"]
    return {"TokenRequest": record(asked, *asked), "NewToken": record(granted)}
