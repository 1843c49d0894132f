"""Identifiers: made by the server, unguessable, and sorted by the time they were made."""

import re
import secrets
import time

_CROCKFORD = "0123456789abcdefghjkmnpqrstvwxyz"
_REQUEST_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}", re.ASCII)


def new_id(kind: str) -> str:
    """Make an id such as `gen_01jd2…`: the kind, then a ULID (48 bits of milliseconds, 80 random) in lower case."""
    number = (time.time_ns() // 1_000_000) << 80 | secrets.randbits(80)
    return f"{kind}_" + "".join([_CROCKFORD[(number >> shift) & 31] for shift in range(125, -5, -5)])


def request_id(offered: str | None) -> str:
    """Take the caller's X-Request-Id if it is short and plain, so that it cannot forge a log line; else make one."""
    if offered is not None and _REQUEST_ID.fullmatch(offered):
        return offered
    return new_id("req")
