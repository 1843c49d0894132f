"""Headers that are read here alone: Content-Type and Authorization of the document, and Retry-After."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC
from email.utils import parsedate_to_datetime

_UTF8 = frozenset({"", "charset=utf-8", 'charset="utf-8"'})
_CREDENTIALS = re.compile(r"(?:bearer +)?([!-~]+)", re.IGNORECASE | re.ASCII)


def is_plain_json(content_type: str | None, content_encoding: str | None) -> bool:
    """Whether a body is declared as `application/json` in UTF-8, not compressed (RFC 9110, 8.3 and 8.4)."""
    if content_type is None or content_encoding is not None:
        return False
    media_type, *parameters = [part.strip(" \t").lower() for part in content_type.split(";")]
    return media_type == "application/json" and all(parameter in _UTF8 for parameter in parameters)


def bearer(values: Sequence[str | bytes]) -> str | None:
    """Return the key in the Authorization header, bare or after `Bearer` in any case and one or more spaces.

    `values` are all headers of that name; None if there is not exactly one, or it holds no key: which of two would
    be meant is not for us to guess (RFC 9110, 5.3).
    """
    if len(values) != 1:
        return None
    value = values[0]
    text = value.decode("latin-1") if isinstance(value, bytes) else value
    credentials = _CREDENTIALS.fullmatch(text.strip(" \t"))
    if credentials is None or credentials[1].lower() == "bearer":
        return None
    return credentials[1]


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Read Retry-After (RFC 9110 10.2.3) in seconds; a date counts from the answer's own Date."""
    value = headers.get("retry-after")
    if value is None:
        return None
    if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", value.strip(), re.ASCII):
        return float(value)
    try:
        until, sent = (parsedate_to_datetime(date) for date in (value, headers.get("date", "")))
    except (ValueError, OverflowError):  # a year, or a distance from UTC, that no date has
        return None
    seconds = (until.replace(tzinfo=UTC) - sent.replace(tzinfo=UTC)).total_seconds()
    return max(seconds, 0.0)
