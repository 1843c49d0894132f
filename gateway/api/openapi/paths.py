"""The paths that callers use: the mirrored endpoint, what became of its images, OpenAI's interface, health."""

from typing import Any

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
from gateway.tenants.policy import IMAGE_FORMATS

_OF_A_REPLY = (
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
_OF_A_FAILURE = ("X-Generation-Id", "Cache-Status", "RateLimit", "RateLimit-Policy", "Idempotent-Replayed", "Location")
_FORMAT = parameter("header", "X-Image-Format", "The form of the images", {"enum": list(IMAGE_FORMATS)})
_IDEMPOTENCY = parameter(
    "header",
    "Idempotency-Key",
    "A repeat with the same key and body is answered from the first request, at no cost",
    {"type": "string", "pattern": "^[A-Za-z0-9_.:-]{1,200}$"},
)
_CACHE = parameter(
    "header",
    "Cache-Control",
    "no-cache, no-store, max-age=, min-fresh=, only-if-cached (RFC 9111, 5.2.1)",
    {"type": "string", "examples": ["no-cache"], "pattern": "^(no-cache|no-store|max-age=[0-9]{1,6})$"},
)
_REQUEST_ID = parameter(
    "header", "X-Request-Id", "The caller's own id of the request", {"type": "string", "pattern": "^[a-z0-9-]{1,64}$"}
)
_GENERATION = parameter("path", "generation_id", "As in X-Generation-Id", TEXT, required=True)
_OPENAI_EXAMPLE: Json = {"model": "flux-2-pro", "prompt": "a cat in the sun", "size": "1024x1024"}
_EXAMPLE: Json = {"model": "flux-2-pro", "prompt": "a cat in the sun", "aspect_ratio": "16:9"}


def mirrored() -> dict[str, Any]:
    """Describe the mirrored endpoint and what belongs to it."""
    reply = answer("The images", {"schema": schema("Reply")}, *_OF_A_REPLY)
    refused = failures(400, 401, 402, 403, 408, 409, 413, 415, 422, 429, 502, 503, 504, said=_OF_A_FAILURE)
    prefer = parameter(
        "header",
        "Prefer",
        "`wait=N`: join the first request of the same idempotency key (RFC 7240)",
        {"type": "string", "pattern": "^wait=[0-9]$"},
    )
    generate = operation(
        "Generate an image",
        {"200": reply, **refused},
        tag="images",
        details="The contract of the upstream that is mirrored. The caller may leave: the generation goes on.",
        parameters=[_FORMAT, _IDEMPOTENCY, prefer, _CACHE, _REQUEST_ID],
        body=json_body(schema("GenerateRequest"), example=_EXAMPLE),
    )
    models = operation(
        "List the models that this key may use",
        {"200": answer("The models", {"schema": schema("Models")}), **failures(401, 429, 503)},
        tag="images",
    )
    return {"/images/generate": {"post": generate}, "/models": {"get": models}, "/images/{name}": _image()}


def _image() -> Json:
    binary: Json = {"schema": {"type": "string", "format": "binary"}}
    said = ["ETag", "Cache-Control", "Content-Range"]
    whole = answer("The image", None, *said) | {
        "content": dict.fromkeys(("image/png", "image/jpeg", "image/webp"), binary)
    }
    get = operation(
        "Fetch a kept image by its link",
        {
            "200": whole,
            "206": whole | {"description": "The part that was asked for"},
            "304": answer("Not changed; an image never does", None, *said),
            **failures(403, 404, 405, 416, 503),
        },
        tag="images",
        details="The link is the permission, so any page may read it. Ranges and conditions as in RFC 9110.",
        parameters=[
            parameter("path", "name", "The image's name", {"type": "string", "minLength": 1}, required=True),
            parameter("query", "e", "When the link expires, in seconds since 1970", TEXT),
            parameter("query", "s", "The signature", TEXT),
        ],
        credential=None,
    )
    return {"get": get}


def own() -> dict[str, Any]:
    """Describe what a tenant may ask about its own generations."""
    show = operation(
        "Show what became of a generation",
        {
            "200": answer("The generation", {"schema": schema("Generation")}, "Retry-After", "Cache-Control"),
            **failures(400, 401, 404, 429, 503),
        },
        tag="generations",
        parameters=[
            _GENERATION,
            parameter("query", "wait", "Seconds to wait for its end", {"type": "integer", "minimum": 0, "maximum": 60}),
            _FORMAT,
        ],
    )
    return {"/generations/{generation_id}": {"get": show}}


def openai() -> dict[str, Any]:
    """Describe OpenAI's interface."""
    made = answer("The images", {"schema": schema("OpenAIReply")}, *_OF_A_REPLY)
    refused = failures(
        400, 401, 402, 403, 408, 409, 413, 415, 422, 429, 502, 503, 504, form="OpenAIError", said=_OF_A_FAILURE
    )
    headers = [_IDEMPOTENCY, _CACHE, _REQUEST_ID]
    refused_list = failures(401, 404, 429, 503, form="OpenAIError")
    generations = operation(
        "Generate images (OpenAI's SDKs)",
        {"200": made, **refused},
        tag="openai",
        parameters=headers,
        body=json_body(schema("OpenAIRequest"), example=_OPENAI_EXAMPLE),
    )
    edits = operation(
        "Generate images from images (OpenAI's SDKs)",
        {"200": made, **refused},
        tag="openai",
        parameters=headers,
        body={"multipart/form-data": {"schema": schema("OpenAIForm")}},
    )
    models = operation(
        "List the models (OpenAI's SDKs)",
        {"200": answer("The models", {"schema": schema("OpenAIModels")}), **refused_list},
        tag="openai",
    )
    model = operation(
        "Show a model (OpenAI's SDKs)",
        {"200": answer("The model", {"schema": schema("OpenAIModel")}), **refused_list},
        tag="openai",
        parameters=[parameter("path", "model", "Its name", {"type": "string", "minLength": 1}, required=True)],
    )
    return {
        "/v1/images/generations": {"post": generations},
        "/v1/images/edits": {"post": edits},
        "/v1/models": {"get": models},
        "/v1/models/{model}": {"get": model},
    }


def health() -> dict[str, Any]:
    """Describe what probes ask, and this document itself."""
    status: Json = {"schema": {"type": "object", "properties": {"status": TEXT}, "required": ["status"]}}
    alive = operation(
        "Tell whether the process lives",
        {"200": answer("It does", status), **failures()},
        tag="health",
        credential=None,
    )
    ready = operation(
        "Tell whether it may be sent traffic",
        {"200": answer("It may", status), "503": answer("It may not", status), **failures()},
        tag="health",
        credential=None,
    )
    page = answer("A page", {"schema": TEXT}, media_type="text/html")
    document = operation(
        "This document",
        {
            "200": answer("OpenAPI 3.1", {"schema": record({"openapi": TEXT}) | {"additionalProperties": True}}),
            **failures(),
        },
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
