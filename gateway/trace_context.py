"""Which trace a request belongs to: the `traceparent` header (https://www.w3.org/TR/trace-context-1/)."""

import re

_TRACEPARENT = re.compile(r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")


def trace_id_of(traceparent: str | None) -> str | None:
    """Return the trace's id; None if there is no header, or it is none that the standard lets through.

    A later version may have more behind what this one has.
    """
    if traceparent is None:
        return None
    match = _TRACEPARENT.fullmatch(traceparent.strip(" \t"))
    if match is None or (match[1] == "00" and match[5] is not None):
        return None
    return match[2]
