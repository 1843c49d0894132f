"""Unpacking what somebody else has compressed (RFC 1950, RFC 1952), and never more of it than is wanted."""

import io
import zlib
from typing import Final

_STEP: Final = 1 << 12
"""Unpacks to 4 MiB at most (deflate's limit is 1,032 to 1), so a bomb is seen before it has grown."""


def inflate(packed: bytes, most: int) -> bytes | None:
    """Unpack gzip or zlib data; None as soon as it is more than `most` bytes.

    Raises zlib.error for other data, EOFError if its end is missing. Takes a second for 200 MB: use a thread.
    """
    decoder = zlib.decompressobj(zlib.MAX_WBITS | 32)  # gzip or zlib, told apart by the header
    plain = io.BytesIO()
    rest = memoryview(packed)
    while rest and not decoder.eof:
        plain.write(decoder.decompress(rest[:_STEP]))
        rest = rest[_STEP:]
        if plain.tell() > most:
            return None
    if not decoder.eof:
        raise EOFError
    return plain.getvalue()
