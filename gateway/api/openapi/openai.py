"""OpenAI's interface, described."""

from typing import Any

from gateway.api.openapi.paths import CACHE, IDEMPOTENCY, OF_A_FAILURE, OF_A_REPLY, REQUEST_ID
from gateway.api.openapi.shapes import PROMPT, SEED, TOLERANCE
from gateway.api.openapi.words import (
    COUNT,
    TEXT,
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
from gateway.contract import ASPECT_RATIOS, OUTPUT_FORMATS

_EXAMPLE: Json = {"model": "flux-2-pro", "prompt": "a cat in the sun", "size": "1024x1024"}


def paths() -> dict[str, Any]:
    """Describe OpenAI's interface."""
    made = answer("The images", {"schema": schema("OpenAIReply")}, *OF_A_REPLY)
    refused = failures(401, 402, 408, 409, 410, 413, 415, 422, 429, 502, 504, form="OpenAIError", said=OF_A_FAILURE)
    headers = [IDEMPOTENCY, CACHE, REQUEST_ID]
    refused_list = failures(401, 404, 429, form="OpenAIError")
    generations = operation(
        "Generate images (OpenAI's SDKs)",
        {"200": made, **refused},
        tag="openai",
        parameters=headers,
        body=json_body(schema("OpenAIRequest"), example=_EXAMPLE),
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


def schemas() -> dict[str, Any]:
    """Return what OpenAI's interface takes and answers."""
    error = record({"message": TEXT, "type": TEXT, "param": nullable(TEXT), "code": nullable(TEXT)})
    model = record({"id": TEXT, "object": {"const": "model"}, "created": COUNT, "owned_by": TEXT})
    return {
        "OpenAIError": record({"error": error}),
        "OpenAIRequest": _request(),
        "OpenAIForm": _form(),
        "OpenAIReply": _reply(),
        "OpenAIModel": model,
        "OpenAIModels": record({"object": {"const": "list"}, "data": listed(schema("OpenAIModel"))}),
    }


def _members() -> dict[str, Json]:
    return {
        "model": {"type": "string", "minLength": 1, "examples": ["flux-2-pro"]},
        "prompt": PROMPT,
        "n": nullable({"type": "integer", "minimum": 1, "maximum": 10}),
        "size": nullable({"type": "string", "pattern": "^(auto|[1-9][0-9]{0,4}x[1-9][0-9]{0,4})$"}),
        "quality": nullable({"enum": ["auto", "standard"]}),
        "response_format": nullable({"enum": ["url", "b64_json"]}),
        "output_format": nullable({"enum": list(OUTPUT_FORMATS)}),
        "user": nullable({"type": "string", "minLength": 1, "maxLength": 128}),
        "aspect_ratio": nullable({"enum": list(ASPECT_RATIOS)}),
        "seed": nullable(SEED),
        "safety_tolerance": nullable(TOLERANCE),
        "background": nullable({"const": "auto"}),
        "moderation": nullable({"const": "auto"}),
        "stream": nullable({"const": False}),
        "partial_images": nullable({"const": 0}),
    }


def _request() -> Json:
    members = _members()
    return record(members, *(name for name in members if name not in ("model", "prompt")))


def _form() -> Json:
    # A form has text alone, and no null: what is not wanted is left out.
    file = {"type": "string", "format": "binary"}
    return {
        "type": "object",
        "properties": {
            "model": {"type": "string", "minLength": 1},
            "prompt": PROMPT,
            "image": {"anyOf": [file, listed(file)], "description": "One to eight files; `image[]` is the same"},
            "n": {"type": "integer", "minimum": 1, "maximum": 10},
            "size": {"type": "string"},
            "response_format": {"enum": ["url", "b64_json"]},
            "output_format": {"enum": list(OUTPUT_FORMATS)},
            "user": {"type": "string", "minLength": 1, "maxLength": 128},
        },
        "required": ["model", "prompt", "image"],
    }


def _reply() -> Json:
    image = record({"url": TEXT, "b64_json": TEXT, "revised_prompt": TEXT}, "url", "b64_json", "revised_prompt")
    error = record({"index": COUNT, "status": COUNT, "message": TEXT})
    return record({"created": COUNT, "data": listed(image), "errors": listed(error)}, "errors")
