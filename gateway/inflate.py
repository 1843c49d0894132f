"""Unpacking what somebody else has compressed (RFC 1950, RFC 1952), and never more of it than is wanted."""

import io
import zlib
from typing import Final

_IN: Final = 1 << 16
_OUT: Final = 1 << 20
"""A bomb is seen before it has grown by more than this (deflate unpacks up to 1,032 times what it is given)."""


def inflate(packed: bytes, most: int) -> bytes | None:
    """Unpack gzip or zlib data; None as soon as it is more than `most` bytes.

    Raises zlib.error for other data, EOFError if its end is missing. Takes a second for 200 MB: use a thread.
    """
    decoder = zlib.decompressobj(zlib.MAX_WBITS | 32)  # gzip or zlib, told apart by the header
    plain = io.BytesIO()
    for start in range(0, len(packed), _IN):
        rest = packed[start : start + _IN]
        while rest and not decoder.eof:
            plain.write(decoder.decompress(rest, _OUT))
            rest = decoder.unconsumed_tail
            if plain.tell() > most:
                return None
    if not decoder.eof:
        raise EOFError
    return plain.getvalue()
