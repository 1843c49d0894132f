"""Upstream's JSON, understood generously: each member as its sender can only have meant it, or not at all.

The document describes `{code, data, model, provider, usage}` and `{code: -1, msg}`; what really arrives varies with the
provider behind it. A paid image must not be lost to a missing `type` or a cost written as text.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any, Literal

import jiter

from gateway.contract import is_crowded
from gateway.upstream.scrub import without

_COST_DIGITS = 18
"""A cost of more digits before the point is no number of anything; its integer could be gigabytes long."""

_FAILED_MAX = 1000
_NAME_MAX = 128
_BASE64_START = re.compile(r"[A-Za-z0-9+/_=\s-]+")
_DATA_URL = re.compile(r"data:([^;,]{0,64})[^,]{0,256},", re.IGNORECASE)
_MEDIA_TYPE = re.compile(r"image/[a-z0-9.+-]{1,32}")
_IRREGULAR = "-_ \t\r\n\v\f"
_URL_SAFE = str.maketrans("-_", "+/")


@dataclass(slots=True)
class ReturnedImage:
    """One image as upstream gave it: a link, or bare padded Base64 of the standard alphabet (not yet decoded).

    `media_type` is upstream's word only; the bytes decide. `image` is emptied by whoever has decoded it: an answer may
    live for long beside its images, and its megabytes shall not be held twice.
    """

    kind: Literal["url", "base64"]
    image: str = field(repr=False)
    media_type: str | None
    revised_prompt: str | None


def parse(body: bytes) -> dict[str, Any] | None:
    """Return the JSON object in `body`, or None: not JSON, cut off, 200 levels deep, a list, a crowd of values."""
    if is_crowded(body):
        return None
    try:
        # NaN is taken, because a cost that is no number must not cost the image beside it.
        parsed = jiter.from_json(
            body.removeprefix(b"\xef\xbb\xbf"), allow_inf_nan=True, cache_mode="keys", float_mode="decimal"
        )
    except ValueError:
        return None
    return parsed if isinstance(parsed, dict) else None


def code_of(envelope: Mapping[str, Any]) -> int | None:
    """Return `code` as an integer: 0, "0" and 0.0 are one; None when absent or no integer."""
    number = _decimal(envelope.get("code"))
    return None if number is None or number != number.to_integral_value() else int(number)


def message_of(envelope: Mapping[str, Any]) -> str | None:
    """Return the message, wherever it stands. It is not yet fit to be shown."""
    error, detail = envelope.get("error"), envelope.get("detail")
    first = detail[0] if isinstance(detail, list) and detail else None
    for candidate in (
        envelope.get("msg"),
        envelope.get("message"),
        error.get("message") if isinstance(error, dict) else error,
        first.get("msg") if isinstance(first, dict) else detail,
    ):
        if isinstance(candidate, str) and candidate.strip():
            return candidate
    return None


def cost_of(envelope: Mapping[str, Any]) -> Decimal | None:
    """Return `usage.cost` (else `cost`) in yuan, finite, perhaps negative or absurd; None when it is no number."""
    usage = envelope.get("usage")
    cost = usage.get("cost") if isinstance(usage, dict) else None
    return _decimal(envelope.get("cost") if cost is None else cost)


def name_of(envelope: Mapping[str, Any], member: str, secrets: Sequence[str]) -> str | None:
    """Return `model` or `provider`; None when it is no name."""
    name = envelope.get(member)
    if not isinstance(name, str) or not 0 < len(name := name.strip()) <= _NAME_MAX or not name.isprintable():
        return None
    return without(name, secrets)


def images_of(envelope: Mapping[str, Any], secrets: Sequence[str]) -> tuple[tuple[ReturnedImage, ...], int]:
    """Return the images that can be used, and how many failed by upstream's count or for want of an image."""
    data = envelope.get("data")
    items = data if isinstance(data, list) else [] if data is None else [data]
    images = tuple([image for item in items if (image := _image(item, secrets)) is not None])
    usage = envelope.get("usage")
    declared = _decimal(usage.get("images_failed")) if isinstance(usage, dict) else None
    failed = int(declared) if declared is not None and 0 <= declared <= _FAILED_MAX else 0
    return images, max(failed, len(items) - len(images))


def _image(item: Any, secrets: Sequence[str]) -> ReturnedImage | None:
    members = {"image": item} if isinstance(item, str) else item
    if not isinstance(members, dict):
        return None
    value = next((v for name in ("image", "url", "b64_json") if isinstance(v := members.get(name), str) and v), None)
    if value is None:
        return None
    media_type = _media_type(members.get("mimeType"))
    prompt = members.get("revised_prompt")
    revised_prompt = without(prompt, secrets) if isinstance(prompt, str) and prompt else None
    if value[:64].lstrip()[:8].lower().startswith(("http://", "https://")):
        link = value.strip()
        # A link that carries a key cannot be handed to anyone, and no image host needs it.
        return None if without(link, secrets) != link else ReturnedImage("url", link, media_type, revised_prompt)
    if (prefix := _DATA_URL.match(value)) is not None:
        media_type = media_type or _media_type(prefix[1])
        value = value[prefix.end() :]
    base64 = _bare(value)
    return None if base64 is None else ReturnedImage("base64", base64, media_type, revised_prompt)


def _bare(value: str) -> str | None:
    """Write Base64 as the document has it. Whether it decodes is seen when it is decoded."""
    if not _BASE64_START.fullmatch(value, 0, min(len(value), 64)):
        return None
    if len(value) % 4 == 0 and not any(character in value for character in _IRREGULAR):
        return value  # as nearly all are; looking for a character costs a tenth of a copy of megabytes
    bare = "".join(value.split())
    if "-" in bare or "_" in bare:
        bare = bare.translate(_URL_SAFE)
    bare = bare.rstrip("=")
    return bare + "=" * (-len(bare) % 4) if bare else None


def _media_type(value: Any) -> str | None:
    return value.lower() if isinstance(value, str) and _MEDIA_TYPE.fullmatch(value.lower()) else None


def _decimal(value: Any) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | Decimal | str):
        return None
    try:
        number = Decimal(value.strip()) if isinstance(value, str) else Decimal(value)
    except InvalidOperation:
        return None
    return number if number.is_finite() and number.adjusted() < _COST_DIGITS else None
