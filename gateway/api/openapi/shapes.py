"""What is sent and answered, as schemas: requests as strict as the contract is, answers whole."""

from typing import Any

from gateway.api.openapi.words import COUNT, MOMENT, TEXT, YUAN, Json, listed, nullable, record, schema
from gateway.api.pages import EXPOSED
from gateway.contract import ASPECT_RATIOS, OUTPUT_FORMATS, REFERENCE_FIELDS, SAFETY_TOLERANCES, SEEDS
from gateway.ledger.records import STATES
from gateway.ledger.report import GROUPINGS

PROMPT: Json = {"type": "string", "minLength": 1, "pattern": r"\S", "examples": ["a cat in the sun"]}
_SIDE: Json = nullable({"type": "integer", "minimum": 16, "multipleOf": 16})
SEED: Json = {"type": "integer", "minimum": SEEDS.start, "maximum": SEEDS.stop - 1}
TOLERANCE: Json = {"type": "integer", "minimum": SAFETY_TOLERANCES.start, "maximum": SAFETY_TOLERANCES.stop - 1}
_REFERENCE: Json = {
    "type": "string",
    "minLength": 1,
    "description": "Base64 of a JPEG, PNG or WebP image of at most 20 MB and 20 megapixels, or its http(s) URL; "
    "a link that this gateway gave to the same tenant works too",
}


def _generate_request() -> Json:
    members = {
        "model": {"type": "string", "minLength": 1, "examples": ["flux-2-pro"], "description": "See GET /models"},
        "prompt": PROMPT,
        "aspect_ratio": {"enum": list(ASPECT_RATIOS)},
        **dict.fromkeys(REFERENCE_FIELDS, _REFERENCE),
        "width": _SIDE,
        "height": _SIDE,
        "seed": nullable(SEED),
        "safety_tolerance": TOLERANCE,
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


def report_row() -> Json:
    """Describe a row of a report: who or what it is about is under the name of the grouping."""
    by: dict[str, Json] = {str(name): nullable(TEXT) for name in GROUPINGS}
    figures = {
        "cost_yuan": YUAN,
        "generations": COUNT,
        "settled": COUNT,
        "released": COUNT,
        "reserved": COUNT,
        "unknown": COUNT,
        "unknown_yuan": YUAN,
        "images_generated": COUNT,
        "images_failed": COUNT,
        "hits": COUNT,
        "collapsed": COUNT,
        "replayed": COUNT,
        "saved_yuan": YUAN,
    }
    return record({**by, **figures}, *by)


def _past() -> Json:
    return record(
        {
            "id": TEXT,
            "state": {"enum": list(STATES)},
            "created_at": MOMENT,
            "model": TEXT,
            "provider": TEXT,
            "key": TEXT,
            "user": nullable(TEXT),
            "cost_yuan": nullable(YUAN),
            "images_generated": nullable(COUNT),
            "images_failed": nullable(COUNT),
        }
    )


def schemas() -> dict[str, Any]:
    """Return every schema that has a name."""
    return {
        "Error": record({"code": {"const": -1}, "msg": TEXT}),
        "GenerateRequest": _generate_request(),
        "Reply": _reply(),
        "Models": record({"models": listed(_model())}),
        "Generation": record(
            {
                "id": TEXT,
                "state": {"enum": list(STATES)},
                "created_at": MOMENT,
                "model": TEXT,
                "cost_yuan": nullable(YUAN),
                "reply": nullable(schema("Reply")),
                "error": nullable(record({"code": {"const": -1}, "msg": TEXT, "status": COUNT})),
                "erased": {"const": True},
            },
            "erased",
        ),
        "Erasing": record({"id": TEXT, "erased": {"const": True}}),
        "Accepted": record({"id": TEXT, "state": {"const": "reserved"}}),
        "History": record({"rows": listed(_past()), "next": nullable(TEXT)}),
        "Report": record({"rows": listed(report_row())}),
    }


HEADERS: dict[str, tuple[str, Json]] = {
    "X-Request-Id": ("The id of this request: the caller's own if it was short and plain", TEXT),
    "X-Generation-Id": ("The generation, for GET /generations/{id}; several are told apart by commas", TEXT),
    "X-Cost-Yuan": ("What this request cost; 0.000000 for a repeat", YUAN),
    "X-Image-Kept": (
        "An image is not in the store: not yet (pending), or not at all (no)",
        {"type": "string", "enum": ["pending", "no"]},
    ),
    "Cache-Status": ("What the cache of replies did (RFC 9211)", TEXT),
    "Age": ("Seconds since the reply was made (RFC 9111, 5.1)", {"type": "string", "pattern": "^[0-9]+$"}),
    "RateLimit": ("What is left of each limit (IETF draft)", TEXT),
    "RateLimit-Policy": ("The limits (IETF draft)", TEXT),
    "WWW-Authenticate": ("What opens it (RFC 9110, 11.6.1)", {"const": "Bearer"}),
    "Retry-After": ("Seconds until it is worth another try", {"type": "string", "pattern": "^[0-9]+$"}),
    "Idempotent-Replayed": ("This is the answer of the first request with the same key", {"const": "true"}),
    "Preference-Applied": ("The preferences that were honoured (RFC 7240)", TEXT),
    "Location": ("Where to look what becomes of it", TEXT),
    "x-should-retry": ("Trying the same again is useless, or would pay twice", {"const": "false"}),
    "Link": ('Where the rest of a long report is (RFC 8288, `rel="next"`)', TEXT),
    "Content-Disposition": ("The name of a file", TEXT),
    "Cache-Control": ("Who may store the answer", TEXT),
    "ETag": ("The validator of the image", TEXT),
    "Accept-Ranges": ("Parts of it may be asked for", {"const": "bytes"}),
    "Content-Range": ("Which part it is, of how many bytes", TEXT),
    "Allow": ("The methods that there are", TEXT),
    "X-Accel-Buffering": ("A proxy is to pass each event on at once", {"const": "no"}),
    "X-Content-Type-Options": ("It is of the type that it says", {"const": "nosniff"}),
    "Content-Security-Policy": ("It runs what stands in it, and loads nothing from elsewhere", TEXT),
    "Vary": ("Another page, another answer: caches keep them apart", {"const": "Origin"}),
    "Access-Control-Allow-Origin": (
        "To a page of an origin that a tenant allows, and to no other: that origin; the page may read the answer",
        {"type": "string", "format": "uri"},
    ),
    "Access-Control-Expose-Headers": (
        "Beside it: the headers that the page may read",
        {"const": ", ".join(EXPOSED)},
    ),
}
