"""A kept image, described."""

from gateway.api.images import SAFE_HEADERS
from gateway.api.openapi.words import TEXT, Json, answer, failures, operation, parameter

_ABOUT = {
    "Access-Control-Allow-Origin": "Any page may read it",
    "Access-Control-Expose-Headers": "The headers that a page may read",
    "Content-Disposition": "It is shown, not saved",
    "Content-Security-Policy": "Opened as a page, it can do nothing",
    "Cross-Origin-Resource-Policy": "Any page may show it",
    "X-Content-Type-Options": "It is of the type that it says",
}
_SAFE = {name: {"description": _ABOUT[name], "schema": {"const": value}} for name, value in SAFE_HEADERS.items()}


def kept_image() -> Json:
    """Describe the operation."""
    binary: Json = {"schema": {"type": "string", "format": "binary"}}
    content = {"content": dict.fromkeys(("image/png", "image/jpeg", "image/webp"), binary)}
    said = ("ETag", "Cache-Control", "Accept-Ranges")
    refused = failures(404, 405, 416)
    return operation(
        "Fetch a kept image by its link",
        {
            "200": _safe(answer("The image", None, *said)) | content,
            "206": _safe(answer("The part that was asked for", None, *said, "Content-Range")) | content,
            "304": _safe(answer("Not changed; an image never does", None, *said)),
            **refused,
            **{status: _safe(refused[status]) for status in ("403", "404", "416", "503")},
        },
        tag="images",
        details="The link is the permission, so any page may read it. Ranges and conditions as in RFC 9110.",
        parameters=[
            parameter("path", "name", "The image's name", {"type": "string", "minLength": 1}, required=True),
            parameter("query", "e", "When the link expires, in seconds since 1970, or `never`", TEXT),
            parameter("query", "s", "The signature", TEXT),
        ],
        credential=None,
    )


def _safe(shown: Json) -> Json:
    """Add what an image, or its absence, says to whatever page shows it."""
    return shown | {"headers": shown["headers"] | _SAFE}
