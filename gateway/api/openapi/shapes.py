"""What is sent and answered, as schemas: requests as strict as the contract is, answers whole."""

from dataclasses import fields
from typing import Any

from gateway.api.openapi.words import COUNT, MOMENT, TEXT, YUAN, Json, listed, nullable, record, schema
from gateway.contract import ASPECT_RATIOS, OUTPUT_FORMATS, REFERENCE_FIELDS, SAFETY_TOLERANCES, SEEDS
from gateway.tenants.policy import (
    CACHE_MODES,
    IMAGE_FORMATS,
    LARGEST_BODY_MB,
    LARGEST_COUNT,
    LONGEST_SECONDS,
    KeyPolicy,
    Policy,
)

_PROMPT: Json = {"type": "string", "minLength": 1, "pattern": r"\S", "examples": ["a cat in the sun"]}
_SIDE: Json = nullable({"type": "integer", "minimum": 16, "multipleOf": 16})
_SEED: Json = {"type": "integer", "minimum": SEEDS.start, "maximum": SEEDS.stop - 1}
_TOLERANCE: Json = {"type": "integer", "minimum": SAFETY_TOLERANCES.start, "maximum": SAFETY_TOLERANCES.stop - 1}
_REFERENCE: Json = {
    "type": "string",
    "minLength": 1,
    "description": "Base64 of a JPEG, PNG or WebP image of at most 20 MB and 20 megapixels, or its http(s) URL; "
    "a link that this gateway gave to the same tenant works too",
}
_LIMIT = nullable({"type": "integer", "minimum": 1, "maximum": LARGEST_COUNT})
_SECONDS = nullable({"type": "integer", "minimum": 1, "maximum": LONGEST_SECONDS})
_BUDGET = nullable({"type": "string", "examples": ["12.50"], "description": "An amount of yuan"})

_POLICY: dict[str, Json] = {
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
    "keep_prompts": {"type": "boolean"},
    "link_ttl": _SECONDS,
    "max_body_mb": nullable({"type": "integer", "minimum": 1, "maximum": LARGEST_BODY_MB}),
    "shadow": {"type": "boolean"},
}


def policy_members(kind: type[Policy] | type[KeyPolicy]) -> dict[str, Json]:
    """Describe the options of a policy. Raises KeyError for one that is not described."""
    return {field.name: _POLICY[field.name] for field in fields(kind)}


def _generate_request() -> Json:
    members = {
        "model": {"type": "string", "minLength": 1, "examples": ["flux-2-pro"], "description": "See GET /models"},
        "prompt": _PROMPT,
        "aspect_ratio": {"enum": list(ASPECT_RATIOS)},
        **dict.fromkeys(REFERENCE_FIELDS, _REFERENCE),
        "width": _SIDE,
        "height": _SIDE,
        "seed": nullable(_SEED),
        "safety_tolerance": _TOLERANCE,
        "output_format": {"enum": list(OUTPUT_FORMATS)},
    }
    return record(members, *(name for name in members if name not in ("model", "prompt")))


def _reply() -> Json:
    image = record(
        {
            "type": {"enum": ["url", "base64"]},
            "image": TEXT,
            "mimeType": nullable({"enum": ["image/png", "image/jpeg", "image/webp"]}),
            "revised_prompt": nullable(TEXT),
        }
    )
    usage = record({"cost": {"type": "number"}, "images_generated": COUNT, "images_failed": COUNT})
    return record({"code": {"const": 0}, "data": listed(image), "model": TEXT, "provider": TEXT, "usage": usage})


def _model() -> Json:
    size = record(
        {
            "multiple_of": COUNT,
            "side_minimum": COUNT,
            "side_maximum": nullable(COUNT),
            "pixels_maximum": nullable(COUNT),
        }
    )
    return record(
        {
            "model": TEXT,
            "aliases": listed(TEXT),
            "provider": TEXT,
            "parameters": listed(TEXT),
            "reply": {"enum": ["url", "base64"]},
            "image_inputs": record({"maximum": COUNT, "advised": COUNT}),
            "size": nullable(size),
            "prompt_characters_maximum": COUNT,
            "price": record({"per": {"enum": ["image", "megapixel"]}, "currency": {"const": "CNY"}, "most_yuan": YUAN}),
            "retired_on": nullable({"type": "string", "format": "date"}),
            "note": TEXT,
        }
    )


def _openai_members() -> dict[str, Json]:
    return {
        "model": {"type": "string", "minLength": 1, "examples": ["flux-2-pro"]},
        "prompt": _PROMPT,
        "n": nullable({"type": "integer", "minimum": 1, "maximum": 10}),
        "size": nullable({"type": "string", "pattern": "^(auto|[1-9][0-9]{0,4}x[1-9][0-9]{0,4})$"}),
        "quality": nullable({"enum": ["auto", "standard"]}),
        "response_format": nullable({"enum": ["url", "b64_json"]}),
        "output_format": nullable({"enum": list(OUTPUT_FORMATS)}),
        "user": nullable({"type": "string", "minLength": 1, "maxLength": 128}),
        "aspect_ratio": nullable({"enum": list(ASPECT_RATIOS)}),
        "seed": nullable(_SEED),
        "safety_tolerance": nullable(_TOLERANCE),
        "background": nullable({"const": "auto"}),
        "moderation": nullable({"const": "auto"}),
        "stream": nullable({"const": False}),
        "partial_images": nullable({"const": 0}),
    }


def _openai_request() -> Json:
    members = _openai_members()
    return record(members, *(name for name in members if name not in ("model", "prompt")))


def _openai_form() -> Json:
    # A form has text alone, and no null: what is not wanted is left out.
    file = {"type": "string", "format": "binary"}
    return {
        "type": "object",
        "properties": {
            "model": {"type": "string", "minLength": 1},
            "prompt": _PROMPT,
            "image": {"anyOf": [file, listed(file)], "description": "One to eight files; `image[]` is the same"},
            "n": {"type": "integer", "minimum": 1, "maximum": 10},
            "size": {"type": "string"},
            "response_format": {"enum": ["url", "b64_json"]},
            "output_format": {"enum": list(OUTPUT_FORMATS)},
            "user": {"type": "string", "minLength": 1, "maxLength": 128},
        },
        "required": ["model", "prompt", "image"],
    }


def _openai_reply() -> Json:
    image = record({"url": TEXT, "b64_json": TEXT, "revised_prompt": TEXT}, "url", "b64_json", "revised_prompt")
    error = record({"index": COUNT, "status": COUNT, "message": TEXT})
    return record({"created": COUNT, "data": listed(image), "errors": listed(error)}, "errors")


def schemas() -> dict[str, Any]:
    """Return every schema that has a name."""
    error = record({"message": TEXT, "type": TEXT, "param": nullable(TEXT), "code": nullable(TEXT)})
    model = record({"id": TEXT, "object": {"const": "model"}, "created": COUNT, "owned_by": TEXT})
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
        "Error": record({"code": {"const": -1}, "msg": TEXT}),
        "OpenAIError": record({"error": error}),
        "GenerateRequest": _generate_request(),
        "Reply": _reply(),
        "Models": record({"models": listed(_model())}),
        "Generation": record(
            {
                "id": TEXT,
                "state": {"enum": ["reserved", "settled", "released", "unknown"]},
                "created_at": MOMENT,
                "model": TEXT,
                "cost_yuan": nullable(YUAN),
                "reply": nullable(schema("Reply")),
            }
        ),
        "OpenAIRequest": _openai_request(),
        "OpenAIForm": _openai_form(),
        "OpenAIReply": _openai_reply(),
        "OpenAIModel": model,
        "OpenAIModels": record({"object": {"const": "list"}, "data": listed(schema("OpenAIModel"))}),
        "Tenant": record(
            {
                "id": TEXT,
                "name": TEXT,
                "disabled": {"type": "boolean"},
                "created_at": MOMENT,
                "policy": record(policy_members(Policy)),
            }
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


HEADERS: dict[str, tuple[str, Json]] = {
    "X-Request-Id": ("The id of this request: the caller's own if it was short and plain", TEXT),
    "X-Generation-Id": ("The generation, for GET /generations/{id}; several are told apart by commas", TEXT),
    "X-Cost-Yuan": ("What this request cost; 0.000000 for a repeat", YUAN),
    "X-Image-Kept": ("Whether an image is not in the store: not yet, or not at all", TEXT),
    "Cache-Status": ("What the cache of replies did (RFC 9211)", TEXT),
    "Age": ("Seconds since the reply was made (RFC 9111, 5.1)", {"type": "string", "pattern": "^[0-9]+$"}),
    "RateLimit": ("What is left of each limit (IETF draft)", TEXT),
    "RateLimit-Policy": ("The limits (IETF draft)", TEXT),
    "Retry-After": ("Seconds until it is worth another try", {"type": "string", "pattern": "^[0-9]+$"}),
    "Idempotent-Replayed": ("This is the answer of the first request with the same key", {"const": "true"}),
    "Preference-Applied": ("The preferences that were honoured (RFC 7240)", TEXT),
    "Location": ("Where to look what becomes of it", TEXT),
    "x-should-retry": ("Trying the same again is useless, or would pay twice", {"const": "false"}),
    "Cache-Control": ("Who may store the answer", TEXT),
    "ETag": ("The validator of the image", TEXT),
    "Content-Range": ("Which part it is, of how many bytes", TEXT),
}
