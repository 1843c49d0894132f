"""What an image's own bytes say: type and size, read from headers. Pixels are never decoded, so nothing can explode.

PNG: W3C PNG Third Edition, 5 and 11.2.1. JPEG: ITU-T T.81, B.1 and B.2.2. WebP: RFC 9649, 2.
"""

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

MediaType: TypeAlias = Literal["image/png", "image/jpeg", "image/webp"]

MAX_BYTES: Final = 64 << 20
"""No image larger than 64 MiB is taken, whether it comes as base64 or by a link."""

_PNG_START: Final = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"
_PNG_END: Final = b"\x00\x00\x00\x00IEND\xae\x42\x60\x82"
_PNG_SIDE_MAX: Final = (1 << 31) - 1

_JPEG_START: Final = b"\xff\xd8\xff"
_JPEG_END: Final = b"\xff\xd9"
_JPEG_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # SOF0-15 without DHT, JPG and DAC
_JPEG_ALONE: Final = frozenset({0x01, *range(0xD0, 0xD8)})  # TEM and RST0-7 have no length
_JPEG_SEGMENTS_MAX: Final = 4096  # before the frame header; 64 KiB each, so even the largest metadata is far below


class NotAnImage(Exception):
    """The bytes are no whole PNG, JPEG or WebP, or too many. The text says which, and quotes none of them."""


@dataclass(frozen=True, slots=True)
class Inspected:
    """What the header says; width and height in pixels, both at least 1."""

    media_type: MediaType
    width: int
    height: int


def inspect(image: bytes) -> Inspected:
    """Tell type and size of an image from its header, and see that its end is there.

    Takes microseconds, allocates nothing that grows with the image or with the size it claims.
    Raises NotAnImage for anything but a whole PNG, JPEG or WebP of at most 64 MiB.
    """
    if len(image) > MAX_BYTES:
        raise NotAnImage(f"larger than {MAX_BYTES >> 20} MiB")
    if image.startswith(_PNG_START):
        found = _png(image)
    elif image.startswith(_JPEG_START):
        found = _jpeg(image)
    elif image[:4] == b"RIFF" and image[8:12] == b"WEBP":
        found = _webp(image)
    else:
        raise NotAnImage("neither PNG nor JPEG nor WebP")
    if found.width < 1 or found.height < 1:
        raise NotAnImage("a side of no pixels")
    return found


def _png(image: bytes) -> Inspected:
    width, height = int.from_bytes(image[16:20]), int.from_bytes(image[20:24])
    if max(width, height) > _PNG_SIDE_MAX:
        raise NotAnImage("a PNG with an impossible side")
    # Searched from the end: bytes after the image are harmless and do occur, a missing end means a cut-off file.
    if image.rfind(_PNG_END) < 0 or b"IDAT" not in image:
        raise NotAnImage("a PNG that is cut off")
    return Inspected("image/png", width, height)


def _jpeg(image: bytes) -> Inspected:
    at = 2
    for _ in range(_JPEG_SEGMENTS_MAX):
        while image[at : at + 2] == b"\xff\xff":  # fill bytes before a marker
            at += 1
        segment = image[at : at + 9]
        if len(segment) < 9 or segment[0] != 0xFF:  # noqa: PLR2004 -- a marker, a length and a frame's two sides
            break
        marker = segment[1]
        if marker in _JPEG_FRAMES:
            # The end is looked for behind the frame header, since a thumbnail before it has an end of its own;
            # within the coded pixels the two bytes cannot occur (a 0xFF there is followed by 0x00).
            if image.rfind(_JPEG_END, at) < 0:
                raise NotAnImage("a JPEG that is cut off")
            return Inspected("image/jpeg", int.from_bytes(segment[7:9]), int.from_bytes(segment[5:7]))
        at += 2 if marker in _JPEG_ALONE else 2 + int.from_bytes(segment[2:4])
    raise NotAnImage("a JPEG without a frame header")


def _webp(image: bytes) -> Inspected:
    if len(image) < int.from_bytes(image[4:8], "little") + 8:
        raise NotAnImage("a WebP that is cut off")
    match image[12:16]:
        case b"VP8 " if image[23:26] == b"\x9d\x01\x2a" and len(image) >= 30:  # noqa: PLR2004 -- RFC 6386, 9.1
            width = int.from_bytes(image[26:28], "little") & 0x3FFF
            height = int.from_bytes(image[28:30], "little") & 0x3FFF
        case b"VP8L" if image[20:21] == b"\x2f" and len(image) >= 25:  # noqa: PLR2004 -- RFC 9649, 3.4
            sides = int.from_bytes(image[21:25], "little")
            width, height = (sides & 0x3FFF) + 1, (sides >> 14 & 0x3FFF) + 1
        case b"VP8X" if len(image) >= 30:  # noqa: PLR2004 -- RFC 9649, 2.7
            width = int.from_bytes(image[24:27], "little") + 1
            height = int.from_bytes(image[27:30], "little") + 1
        case _:
            raise NotAnImage("a WebP without a frame header")
    return Inspected("image/webp", width, height)
