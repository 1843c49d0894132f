"""Base64 as upstream may send it: read generously, because the image in it has been paid for; its bytes decide."""

import binascii
from typing import Final

import pybase64

from gateway.images.inspect import MAX_BYTES, NotAnImage

_MAX_CHARACTERS: Final = MAX_BYTES * 3 // 2  # 4/3 for base64, the rest for line breaks
_WHITE_SPACE: Final = b" \t\r\n\v\f"
_TO_STANDARD: Final = bytes.maketrans(b"-_", b"+/")


def decode_base64(text: str | bytes) -> bytes:
    """Decode base64 with or without a `data:` prefix, line breaks and padding, in either alphabet of RFC 4648.

    Raises NotAnImage when the text is not base64, is empty, or is longer than an image of 64 MiB can be.
    Meant for a thread: decoding releases the interpreter lock (20 MB of text take 1-7 ms).
    """
    if len(text) > _MAX_CHARACTERS:
        raise NotAnImage("base64 longer than the largest image")
    try:
        # The usual case in one pass, without a copy; what is unusual costs a second one.
        decoded = pybase64.b64decode(text, validate=True)
    except ValueError:  # binascii.Error is one
        decoded = _decode_irregular(text)
    if not decoded:
        raise NotAnImage("empty base64")
    return decoded


def _decode_irregular(text: str | bytes) -> bytes:
    try:
        encoded = text.encode("ascii") if isinstance(text, str) else text
    except UnicodeEncodeError:
        raise NotAnImage("not base64") from None
    if encoded[:5].lower() == b"data:":
        head, comma, encoded = encoded.partition(b",")
        if not comma or not head.rstrip().lower().endswith(b";base64"):
            raise NotAnImage("a data: URL without base64")
    plain = encoded.translate(_TO_STANDARD, _WHITE_SPACE).rstrip(b"=")
    try:
        return pybase64.b64decode(plain + b"=" * (-len(plain) % 4), validate=True)
    except binascii.Error:
        raise NotAnImage("not base64") from None
