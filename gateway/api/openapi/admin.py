"""The paths of the admin API: what operators do by the command line, over HTTP."""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from gateway.api.openapi.paths import report
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
from gateway.ledger.report import GROUPINGS
from gateway.tenants.policy import (
    CACHE_MODES,
    IMAGE_FORMATS,
    LARGEST_BODY_MB,
    LARGEST_COUNT,
    LONGEST_DAYS,
    LONGEST_SECONDS,
    KeyPolicy,
    Policy,
)

_LIMIT = nullable({"type": "integer", "minimum": 1, "maximum": LARGEST_COUNT})
_SECONDS = nullable({"type": "integer", "minimum": 1, "maximum": LONGEST_SECONDS})
_BUDGET = nullable({"type": "string", "examples": ["12.50"], "description": "An amount of yuan"})

POLICY: dict[str, Json] = {
    "requests_per_minute": _LIMIT,
    "images_per_minute": _LIMIT,
    "burst": _LIMIT,
    "concurrency": _LIMIT,
    "budget_day": _BUDGET,
    "budget_month": _BUDGET,
    "budget_total": _BUDGET,
    "models": nullable(listed(TEXT)),
    "image_format": {"enum": list(IMAGE_FORMATS)},
    "cache": {"enum": list(CACHE_MODES)},
    "cache_ttl": _SECONDS,
    "retention_days": nullable({"type": "integer", "minimum": 1, "maximum": LONGEST_DAYS}),
    "keep_prompts": {"type": "boolean"},
    "log_prompts": {"type": "boolean"},
    "origins": nullable(listed(TEXT)),
    "webhook_url": nullable({"type": "string", "format": "uri"}),
    "link_ttl": {"anyOf": [_SECONDS, {"const": "none"}]},
    "max_body_mb": nullable({"type": "integer", "minimum": 1, "maximum": LARGEST_BODY_MB}),
    "shadow": {"type": "boolean"},
}


def policy_members(kind: type[Policy] | type[KeyPolicy]) -> dict[str, Json]:
    """Describe the options of a policy."""
    return {field.name: POLICY.get(field.name, {}) for field in fields(kind)}


_TAG = "admin"
_NAME = parameter("path", "name", "The tenant's name", {"type": "string", "minLength": 1}, required=True)
_ID = parameter("path", "id", "The id", {"type": "string", "minLength": 1}, required=True)
_DONE = {"schema": record({"done": COUNT})}


def paths() -> dict[str, Any]:
    """Describe the admin API."""
    return {f"/admin/api{path}": methods for path, methods in (_tenants() | _keys() | _unknown() | _reports()).items()}


def _operation(
    summary: str,
    content: Json,
    *,
    created: bool = False,
    parameters: Sequence[Json] = (),
    body: Json | None = None,
) -> Json:
    status, said = ("201", "It was made") if created else ("200", "Done")
    refusals = (401, 404, 408, 413, *([409] if created else []), *([] if body is None else [415]))
    return operation(
        summary,
        {status: _answer(said, content), **failures(*refusals)},
        tag=_TAG,
        parameters=parameters,
        body=body,
        credential="adminToken",
    )


def _look(summary: str, content: Json, *parameters: Json) -> Json:
    answers = {"200": _answer("As it is now", content), **failures(401, 404)}
    return operation(summary, answers, tag=_TAG, parameters=parameters, credential="adminToken")


def _answer(said: str, content: Json) -> Json:
    return answer(said, {"schema": content}, "Cache-Control")


def _tenants() -> dict[str, Any]:
    tenant = schema("Tenant")
    return {
        "/tenants": {
            "get": _look("List the tenants", record({"tenants": listed(tenant)})),
            "post": _operation("Make a tenant", tenant, created=True, body=json_body(schema("TenantRequest"))),
        },
        "/tenants/{name}": {
            "get": _look("Show a tenant", tenant, _NAME),
            "patch": _operation(
                "Change a tenant's policy", tenant, parameters=[_NAME], body=json_body(schema("PolicyRequest"))
            ),
        },
        "/tenants/{name}/disable": {"post": _operation("Refuse a tenant's keys", tenant, parameters=[_NAME])},
        "/tenants/{name}/enable": {"post": _operation("Take a tenant's keys again", tenant, parameters=[_NAME])},
    }


def _keys() -> dict[str, Any]:
    return {
        "/tenants/{name}/keys": {
            "get": _look("List a tenant's keys", record({"keys": listed(schema("Key"))}), _NAME),
            "post": _operation(
                "Make a key, which is shown once",
                schema("NewKey"),
                created=True,
                parameters=[_NAME],
                body=json_body(schema("KeyRequest")),
            ),
        },
        "/keys/{id}/rotate": {
            "post": _operation("Make a key's successor", schema("NewKey"), created=True, parameters=[_ID])
        },
        "/keys/{id}/revoke": {"post": _operation("Refuse a key for good", schema("Key"), parameters=[_ID])},
        "/tokens/{id}/revoke": {
            "post": _operation("Refuse a client token", record({"id": TEXT, "tenant": TEXT}), parameters=[_ID])
        },
        "/tenants/{name}/tokens/revoke": {
            "post": _operation(
                "Refuse every client token of an end user",
                record({"revoked": COUNT}),
                parameters=[_NAME],
                body=json_body(record({"user": TEXT})),
            )
        },
    }


def _unknown() -> dict[str, Any]:
    rows = record({"rows": listed(schema("UnknownGeneration"))})
    cost = json_body(record({"cost_yuan": TEXT}), example={"cost_yuan": "0.04"})
    chosen = json_body(schema("Chosen"))
    return {
        "/unknown": {
            "get": _look(
                "List generations whose outcome is unknown",
                rows,
                parameter("query", "tenant", "A tenant's name", TEXT),
                parameter("query", "before", "Those begun before this moment", TEXT),
            )
        },
        "/unknown/settle-quoted": {"post": _operation("Settle many at their quotes", _DONE["schema"], body=chosen)},
        "/unknown/void": {"post": _operation("Release many", _DONE["schema"], body=chosen)},
        "/unknown/{id}/settle": {
            "post": _operation("Settle one at what upstream billed", schema("Decided"), parameters=[_ID], body=cost)
        },
        "/unknown/{id}/void": {
            "post": _operation("Release one that was not billed", schema("Decided"), parameters=[_ID])
        },
    }


def _reports() -> dict[str, Any]:
    tenant = parameter("query", "tenant", "A tenant's name", TEXT)
    page = record({"rows": listed(schema("AuditEntry")), "next": nullable(TEXT)})
    return {
        "/spend": {"get": report("Report what was spent and saved", _TAG, "adminToken", tenant, groupings=GROUPINGS)},
        "/audit": {
            "get": _look(
                "Read the audit trail, newest first",
                page,
                parameter("query", "subject", "A tenant's name or an id", TEXT),
                parameter("query", "limit", "At most so many", {"type": "integer", "minimum": 1, "maximum": 100}),
                parameter("query", "after", "The `next` of the page before", TEXT),
            )
        },
    }


def schemas() -> dict[str, Any]:
    """Return what the admin API takes and answers."""
    key = {
        "id": TEXT,
        "tenant": TEXT,
        "label": TEXT,
        "state": {"enum": ["active", "revoked", "expired"]},
        "created_at": MOMENT,
        "expires_at": nullable(MOMENT),
        "policy": record(policy_members(KeyPolicy)),
    }
    return {
        "Tenant": record(
            {
                "id": TEXT,
                "name": TEXT,
                "disabled": {"type": "boolean"},
                "created_at": MOMENT,
                "policy": record(policy_members(Policy)),
                "webhook_secret": {"type": "string", "description": "Of a new webhook, shown once"},
            },
            "webhook_secret",
        ),
        "TenantRequest": record({"name": TEXT, **policy_members(Policy)}, *policy_members(Policy)),
        "PolicyRequest": record(policy_members(Policy), *policy_members(Policy)),
        "Key": record(key),
        "NewKey": record({**key, "key": TEXT}),
        "KeyRequest": record(
            {"label": nullable(TEXT), "expires_at": nullable(TEXT), **policy_members(KeyPolicy)},
            "label",
            "expires_at",
            *policy_members(KeyPolicy),
        ),
        "UnknownGeneration": record(
            {
                "id": TEXT,
                "tenant": TEXT,
                "model": TEXT,
                "quote_yuan": YUAN,
                "created_at": MOMENT,
                "failure": nullable(TEXT),
            }
        ),
        "Decided": record({"id": TEXT, "state": {"enum": ["settled", "released"]}, "cost_yuan": YUAN}),
        "Chosen": record({"tenant": nullable(TEXT), "before": nullable(TEXT)}, "tenant", "before"),
        "AuditEntry": record(
            {
                "id": TEXT,
                "at": MOMENT,
                "actor": TEXT,
                "action": TEXT,
                "subject": TEXT,
                "before": {},
                "after": {},
            }
        ),
    }
