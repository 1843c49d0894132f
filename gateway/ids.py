"""Identifiers: made by the server, unguessable, and sorted by the time they were made."""

import os
import re
import time

_REQUEST_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}", re.ASCII)


def new_id(kind: str) -> str:
    """Make an id such as `gen_019b0a1c…`: the kind, then 48 bits of milliseconds and 80 random ones, in hexadecimal."""
    return f"{kind}_{time.time_ns() // 1_000_000:012x}{os.urandom(10).hex()}"


def least_id(kind: str, moment: int) -> str:
    """Return what sorts before every id of this kind that is made from a moment (epoch milliseconds) on."""
    return f"{kind}_{moment:012x}"


def request_id(offered: str | None) -> str:
    """Take the caller's X-Request-Id if it is short and plain, so that it cannot forge a log line; else make one."""
    if offered is not None and _REQUEST_ID.fullmatch(offered):
        return offered
    return new_id("req")
