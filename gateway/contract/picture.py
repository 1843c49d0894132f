"""What a picture's first bytes say: its format, width and height. Pixels are never decoded.

PNG: W3C PNG (Third Edition) 5.2, 11.2.1. JPEG: ITU-T T.81 annex B. WebP: RFC 9649.
"""

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

MediaType: TypeAlias = Literal["image/png", "image/jpeg", "image/webp"]

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_IHDR = b"\x00\x00\x00\rIHDR"
_PNG_SIDE_MAX = (1 << 31) - 1

_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""Start-of-frame markers; C4, C8 and CC in that range are tables and an extension."""
_JPEG_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD8)})
_JPEG_ENDS = frozenset({0xD9, 0xDA})
"""End of image, and start of scan: no frame header comes after them."""
_JPEG_SEGMENTS_MAX = 10_000
"""More than any camera writes, and few enough to walk in milliseconds."""


@dataclass(frozen=True, slots=True)
class Header:
    """What the header of a picture says; both sides are at least 1 pixel."""

    media_type: MediaType
    width: int
    height: int
    size_at: int = field(default=0, compare=False)
    """Where in the file the header has the size: what belongs to the picture itself comes after it."""


def read_header(file: bytes) -> Header | None:
    """Read the header of a PNG, JPEG or WebP file; None if it is none of them, or cut off before its size.

    Takes microseconds, and allocates nothing that grows with the file or with the size it claims.
    """
    if file.startswith(_PNG_SIGNATURE):
        header = _png(file)
    elif file.startswith(b"\xff\xd8\xff"):
        header = _jpeg(file)
    elif file.startswith(b"RIFF") and file[8:12] == b"WEBP":
        header = _webp(file)
    else:
        return None
    return None if header is None or 0 in (header.width, header.height) else header


def _png(file: bytes) -> Header | None:
    if len(file) < 33 or file[8:16] != _IHDR:  # noqa: PLR2004 -- signature 8, then IHDR: length 4, name 4, data 13, CRC 4
        return None
    width, height = int.from_bytes(file[16:20]), int.from_bytes(file[20:24])
    return None if max(width, height) > _PNG_SIDE_MAX else Header("image/png", width, height, 16)


def _jpeg(file: bytes) -> Header | None:
    at = 2
    for _ in range(_JPEG_SEGMENTS_MAX):
        if file[at : at + 1] != b"\xff":
            return None
        marker = file[at + 1 : at + 2]
        if marker == b"\xff":  # a fill byte: any number of them may precede a marker
            at += 1
            continue
        if not marker or marker[0] in _JPEG_ENDS:
            return None
        if marker[0] in _JPEG_WITHOUT_LENGTH:
            at += 2
            continue
        length = int.from_bytes(file[at + 2 : at + 4], "big")
        if marker[0] in _JPEG_FRAMES:
            if length < 8 or len(file) < at + 9:  # noqa: PLR2004 -- length 2, precision 1, height 2, width 2, components 1
                return None
            width, height = int.from_bytes(file[at + 7 : at + 9]), int.from_bytes(file[at + 5 : at + 7])
            return Header("image/jpeg", width, height, at + 5)
        if length < 2:  # noqa: PLR2004 -- a length counts its own two bytes
            return None
        at += 2 + length
    return None


def _webp(file: bytes) -> Header | None:
    match file[12:16]:
        case b"VP8X" if len(file) >= 30:  # noqa: PLR2004 -- RFC 9649, 2.7
            width, height = int.from_bytes(file[24:27], "little") + 1, int.from_bytes(file[27:30], "little") + 1
        case b"VP8L" if len(file) >= 25 and file[20] == 0x2F:  # noqa: PLR2004 -- RFC 9649, 3.4: a signature, the sides
            bits = int.from_bytes(file[21:25], "little")
            width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        case b"VP8 " if len(file) >= 30 and file[23:26] == b"\x9d\x01\x2a":  # noqa: PLR2004 -- RFC 6386, 9.1
            width = int.from_bytes(file[26:28], "little") & 0x3FFF
            height = int.from_bytes(file[28:30], "little") & 0x3FFF
        case _:
            return None
    return Header("image/webp", width, height, 21)
