"""The paths that callers use: the mirrored endpoint, what became of its images, OpenAI's interface, health."""

from collections.abc import Sequence
from typing import Any

from gateway.api.openapi.image import kept_image
from gateway.api.openapi.words import (
    TEXT,
    Json,
    answer,
    failures,
    json_body,
    operation,
    parameter,
    record,
    schema,
)
from gateway.api.usage import OWN
from gateway.ledger.records import STATES
from gateway.tenants.policy import IMAGE_FORMATS

OF_A_REPLY = (
    "X-Generation-Id",
    "X-Cost-Yuan",
    "X-Image-Kept",
    "Cache-Status",
    "Age",
    "RateLimit",
    "RateLimit-Policy",
    "Idempotent-Replayed",
    "Preference-Applied",
    "Cache-Control",
)
OF_A_FAILURE = ("X-Generation-Id", "Cache-Status", "RateLimit", "RateLimit-Policy", "Idempotent-Replayed", "Location")
_FORMAT = parameter("header", "X-Image-Format", "The form of the images", {"enum": list(IMAGE_FORMATS)})
IDEMPOTENCY = parameter(
    "header",
    "Idempotency-Key",
    "A repeat with the same key and body is answered from the first request, at no cost",
    {"type": "string", "pattern": "^[A-Za-z0-9_.:-]{1,200}$"},
)
CACHE = parameter(
    "header",
    "Cache-Control",
    "no-cache, no-store, max-age=, min-fresh=, only-if-cached (RFC 9111, 5.2.1)",
    {"type": "string", "examples": ["no-cache"], "pattern": "^(no-cache|no-store|max-age=[0-9]{1,6})$"},
)
REQUEST_ID = parameter(
    "header", "X-Request-Id", "The caller's own id of the request", {"type": "string", "pattern": "^[a-z0-9-]{1,64}$"}
)
_DAYS = [
    parameter("query", "from", "The first day, in GATEWAY_TIMEZONE", {"type": "string", "format": "date"}),
    parameter("query", "to", "The last day", {"type": "string", "format": "date"}),
]
_GENERATION = parameter("path", "generation_id", "As in X-Generation-Id", TEXT, required=True)
_EXAMPLE: Json = {"model": "flux-2-pro", "prompt": "a cat in the sun", "aspect_ratio": "16:9"}


def mirrored() -> dict[str, Any]:
    """Describe the mirrored endpoint and what belongs to it."""
    reply = answer("The images", {"schema": schema("Reply")}, *OF_A_REPLY)
    refused = failures(401, 402, 408, 409, 410, 413, 415, 422, 429, 502, 504, said=OF_A_FAILURE)
    prefer = parameter(
        "header",
        "Prefer",
        "`respond-async`: 202 once the generation is accounted for, with `wait=N` after N seconds; `wait=N`: join "
        "the first request of the same idempotency key (RFC 7240)",
        {"type": "string", "pattern": "^(respond-async|wait=[0-9]|respond-async, wait=[0-9])$"},
    )
    said = [name for name in OF_A_REPLY if name not in ("X-Cost-Yuan", "X-Image-Kept", "Idempotent-Replayed")]
    accepted = answer("It is being made", {"schema": schema("Accepted")}, *said, "Location", "Retry-After")
    generate = operation(
        "Generate an image",
        {"200": reply, "202": accepted, **refused},
        tag="images",
        details="The contract of the upstream that is mirrored. The caller may leave: the generation goes on.",
        parameters=[_FORMAT, IDEMPOTENCY, prefer, CACHE, REQUEST_ID],
        body=json_body(schema("GenerateRequest"), example=_EXAMPLE),
    )
    models = operation(
        "List the models that this key may use",
        {"200": answer("The models", {"schema": schema("Models")}), **failures(401, 429)},
        tag="images",
    )
    return {"/images/generate": {"post": generate}, "/models": {"get": models}, "/images/{name}": {"get": kept_image()}}


def own() -> dict[str, Any]:
    """Describe what a tenant may ask about its own generations."""
    show = operation(
        "Show what became of a generation",
        {
            "200": answer("The generation", {"schema": schema("Generation")}, "Retry-After", "Cache-Control"),
            **failures(401, 404, 429),
        },
        tag="generations",
        parameters=[
            _GENERATION,
            parameter("query", "wait", "Seconds to wait for its end", {"type": "integer", "minimum": 0, "maximum": 60}),
            _FORMAT,
        ],
    )
    later = ("Retry-After", "Cache-Control")
    erase = operation(
        "Erase a generation's prompt, reply and images",
        {
            "202": answer(
                "It is shown no more; its images go when the store is back", {"schema": schema("Erasing")}, *later
            ),
            "204": answer("Nothing is left of it but what it cost", None),
            **failures(401, 404, 409, 429),
        },
        tag="generations",
        parameters=[_GENERATION],
    )
    streamed = ("Cache-Control", "X-Accel-Buffering")
    events = operation(
        "Follow a generation's stages",
        {
            "200": answer("Server-Sent Events", {"schema": TEXT}, *streamed, media_type="text/event-stream"),
            "204": answer("The reader has them all", None, *streamed),
            **failures(401, 404, 429),
        },
        tag="generations",
        details="`reserved`, `generating`, `keeping`, at last `settled`, `released` or `unknown` with the generation.",
        parameters=[
            _GENERATION,
            parameter(
                "header", "Last-Event-ID", "The last event that was read", {"type": "string", "pattern": "^[0-4]$"}
            ),
            _FORMAT,
        ],
    )
    return {
        "/generations": {"get": _history()},
        "/generations/{generation_id}": {"get": show, "delete": erase},
        "/generations/{generation_id}/events": {"get": events},
        "/usage": {"get": report("Report what the tenant spent and saved", "generations", "key")},
    }


def _history() -> Json:
    return operation(
        "List the tenant's generations, newest first",
        {
            "200": answer("A page", {"schema": schema("History")}, "Cache-Control"),
            **failures(401, 429),
        },
        tag="generations",
        parameters=[
            parameter("query", "model", "Only of this model", TEXT),
            parameter("query", "state", "Only in this state", {"enum": list(STATES)}),
            *_DAYS,
            parameter("query", "limit", "At most so many", {"type": "integer", "minimum": 1, "maximum": 100}),
            parameter("query", "after", "The `next` of the page before", TEXT),
        ],
    )


def report(summary: str, tag: str, credential: str, *others: Json, groupings: Sequence[str] = OWN) -> Json:
    """Describe a report: JSON, or CSV."""
    shown = answer("The report", {"schema": schema("Report")}, "Cache-Control", "Link", "Content-Disposition")
    shown["content"]["text/csv"] = {"schema": TEXT}
    limit: Json = {"type": "integer", "minimum": 1, "maximum": 10_000}
    return operation(
        summary,
        {"200": shown, **failures(401, 404, 429)},
        tag=tag,
        parameters=[
            *_DAYS,
            parameter("query", "by", "What to add up by", {"enum": list(groupings)}),
            *others,
            parameter("query", "format", "json, or csv", {"enum": ["json", "csv"]}),
            parameter("query", "limit", "At most so many rows; Link names the rest", limit),
            parameter("query", "after", "As in Link", TEXT),
        ],
        credential=credential,
    )


def health() -> dict[str, Any]:
    """Describe what probes ask, and this document itself."""
    status: Json = {"schema": {"type": "object", "properties": {"status": TEXT}, "required": ["status"]}}
    alive = operation(
        "Tell whether the process lives",
        {"200": answer("It does", status), **failures()},
        tag="health",
        credential=None,
    )
    refused = failures()
    neither: Json = {"schema": {"anyOf": [status["schema"], schema("Error")]}}
    ready = operation(
        "Tell whether it may be sent traffic",
        {**refused, "200": answer("It may", status), "503": answer("It may not", neither, "Retry-After")},
        tag="health",
        credential=None,
    )
    page = answer(
        "A page",
        {"schema": TEXT},
        "Cache-Control",
        "Content-Security-Policy",
        "X-Content-Type-Options",
        media_type="text/html",
    )
    openapi: Json = {"schema": record({"openapi": TEXT}) | {"additionalProperties": True}}
    document = operation(
        "This document",
        {"200": answer("OpenAPI 3.1", openapi, "Cache-Control"), **failures()},
        tag="health",
        credential=None,
    )
    docs = operation("This document, for people", {"200": page, **failures()}, tag="health", credential=None)
    return {
        "/livez": {"get": alive},
        "/readyz": {"get": ready},
        "/openapi.json": {"get": document},
        "/docs": {"get": docs},
    }
