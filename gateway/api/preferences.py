"""Request headers that say how a generation is wanted: `Idempotency-Key`, `Prefer`, `X-Image-Format`."""

import re

from starlette.requests import Request

from gateway.errors import InvalidRequest
from gateway.tenants.policy import IMAGE_FORMATS, ImageFormat

_KEY = re.compile(r'"([\x21\x23-\x5b\x5d-\x7e]{1,255})"|([\x21\x23-\x7e]{1,255})', re.ASCII)
_WAIT = re.compile(r"wait\s*=\s*([0-9]{1,4})", re.ASCII | re.IGNORECASE)


def idempotency_key(request: Request) -> str | None:
    """Return the key, given bare or as a quoted string. Raises InvalidRequest."""
    values = request.headers.getlist("idempotency-key")
    if not values:
        return None
    match = _KEY.fullmatch(values[0].strip(" \t")) if len(values) == 1 else None
    if match is None:
        raise InvalidRequest("Invalid Idempotency-Key header. 1 to 255 visible ASCII characters are required")
    return match[1] if match[1] is not None else match[2]


def preferences(request: Request) -> tuple[bool, float]:
    """Return whether `Prefer: respond-async` is there, and the seconds of `Prefer: wait=N`, 0 without.

    The first of several counts; a preference that is not understood is no error (RFC 7240, 2, 4.1 and 4.3).
    """
    asynchronous, wait = False, None
    for value in request.headers.getlist("prefer"):
        for preference in value.split(","):
            word = preference.strip(" \t")
            if word.lower() == "respond-async":
                asynchronous = True
            elif wait is None and (match := _WAIT.fullmatch(word)) is not None:
                wait = float(match[1])
    return asynchronous, 0.0 if wait is None else wait


def image_format(request: Request, otherwise: ImageFormat) -> ImageFormat:
    """Return the form in which images are wanted. Raises InvalidRequest."""
    asked = request.headers.get("x-image-format")
    if asked is None:
        return otherwise
    for known in IMAGE_FORMATS:
        if asked == known:
            return known
    raise InvalidRequest(f"Invalid X-Image-Format header. Supported formats: {', '.join(IMAGE_FORMATS)}")
