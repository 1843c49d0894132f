"""The words in which the document is written: references, headers, failures, operations (OpenAPI 3.1)."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

Json: TypeAlias = dict[str, Any]

FAILURES: Mapping[int, str] = {
    400: "A parameter, a header, the body or the HTTP itself is wrong, or upstream refused the request",
    401: "The key is missing, wrong, expired or revoked: one text for all",
    402: "What the generation may cost does not fit into the budget",
    403: "The key is good, but may not do this, or the page that asks is of an origin that is not allowed",
    404: "There is no such thing, or it is somebody else's",
    405: "The path has no such method",
    408: "The body did not arrive in time",
    409: "The same idempotency key, or the generation, is still being worked on, or the name is taken",
    410: "It was erased",
    413: "The body is too large",
    415: "The body is of another media type",
    416: "No byte of the image lies in the range",
    422: "The idempotency key was used with another body",
    429: "A rate, a concurrency or the brake on failed keys",
    502: "Upstream failed, or answered nonsense",
    503: "Overload, draining, or a store that is needed is away",
    504: "Upstream did not answer in time, or `only-if-cached` found nothing",
}
EVERYWHERE = frozenset({400, 403, 503})
"""Whatever is asked: it may be no HTTP, come from a wrong page, or come when the gateway leaves."""

ON_EVERY_ANSWER = ("X-Request-Id",)
_SAID: Mapping[int, Sequence[str]] = {
    401: ("WWW-Authenticate",),
    402: ("x-should-retry",),
    405: ("Allow",),
    409: ("Retry-After", "x-should-retry"),
    410: ("x-should-retry",),
    416: ("Content-Range",),
    429: ("Retry-After",),
    502: ("x-should-retry",),
    503: ("Retry-After",),
    504: ("x-should-retry",),
}
"""What a failure says beside what every answer does."""


def ref(kind: str, name: str) -> Json:
    """Refer to a component."""
    return {"$ref": f"#/components/{kind}/{name}"}


def schema(name: str) -> Json:
    """Refer to a schema."""
    return ref("schemas", name)


def headers(*names: str) -> Json:
    """Refer to response headers by their names."""
    return {name: ref("headers", name) for name in (*ON_EVERY_ANSWER, *names)}


def answer(description: str, content: Json | None, *said: str, media_type: str = "application/json") -> Json:
    """Describe an answer and the headers that it may have."""
    shown: Json = {"description": description, "headers": headers(*said)}
    if content is not None:
        shown["content"] = {media_type: content}
    return shown


def failures(*statuses: int, form: str = "Error", said: Sequence[str] = ()) -> Json:
    """Describe failures, all in one form, with those that may come everywhere.

    What is no HTTP at all is refused in the contract's form, whatever the path has.
    """
    described = {}
    for status in sorted(EVERYWHERE.union(statuses)):
        names = (*said, *_SAID.get(status, ()))
        forms = [form] if status != 400 or form == "Error" else [form, "Error"]  # noqa: PLR2004 -- HTTP
        shape = schema(form) if len(forms) == 1 else {"anyOf": [schema(one) for one in forms]}
        described[str(status)] = answer(FAILURES[status], {"schema": shape}, *names)
    return described


def parameter(where: str, name: str, description: str, shape: Json, *, required: bool = False) -> Json:
    """Describe a parameter in the path, the query or the headers."""
    return {"in": where, "name": name, "description": description, "schema": shape, "required": required}


def operation(
    summary: str,
    answers: Mapping[str, Json],
    *,
    tag: str,
    details: str = "",
    parameters: Sequence[Json] = (),
    body: Json | None = None,
    credential: str | None = "key",
) -> Json:
    """Describe an operation; `credential` is what opens it, None for everybody."""
    shown: Json = {"summary": summary, "tags": [tag], "responses": dict(answers)}
    shown["security"] = [] if credential is None else [{credential: []}]
    if details:
        shown["description"] = details
    if parameters:
        shown["parameters"] = list(parameters)
    if body is not None:
        shown["requestBody"] = {"required": True, "content": body}
    return shown


def json_body(shape: Json, **examples: Json) -> Json:
    """Describe a body of JSON."""
    content: Json = {"schema": shape}
    if examples:
        content["examples"] = {name: {"value": value} for name, value in examples.items()}
    return {"application/json": content}


def record(properties: Mapping[str, Json], *optional: str) -> Json:
    """Describe an object that has these members and no others, all but the optional ones required."""
    return {
        "type": "object",
        "properties": dict(properties),
        "required": [name for name in properties if name not in optional],
        "additionalProperties": False,
    }


def nullable(shape: Json) -> Json:
    """Allow null too."""
    return {"anyOf": [shape, {"type": "null"}]}


def listed(shape: Json) -> Json:
    """Describe a list."""
    return {"type": "array", "items": shape}


TEXT: Json = {"type": "string"}
COUNT: Json = {"type": "integer", "minimum": 0}
YUAN: Json = {"type": "string", "pattern": r"^-?[0-9]+\.[0-9]{6}$", "examples": ["0.040000"]}
MOMENT: Json = {"type": "string", "format": "date-time"}
