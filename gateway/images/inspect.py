"""Whether bytes are a whole image, and what its header says. Pixels are never decoded, so nothing can explode.

PNG: W3C PNG Third Edition, 5 and 11.2.1. JPEG: ITU-T T.81, B.1. WebP: RFC 9649, 2.
"""

from typing import Final

from gateway.contract import Header, MediaType, read_header

__all__ = ["MAX_BYTES", "Inspected", "MediaType", "NotAnImage", "inspect"]

MAX_BYTES: Final = 64 << 20
"""No image larger than 64 MiB is taken, whether it comes as base64 or by a link."""

_PNG_END: Final = b"\x00\x00\x00\x00IEND\xae\x42\x60\x82"
_JPEG_END: Final = b"\xff\xd9"

MAX_PIXELS: Final = 1 << 28
"""16,384 × 16,384, as much as browsers show: whatever claims more is there to exhaust whoever opens it."""

Inspected = Header
"""Type, width and height in pixels; both sides are at least 1."""


class NotAnImage(Exception):
    """The bytes are no whole PNG, JPEG or WebP, or too many. The text says which, and quotes none of them."""


def inspect(image: bytes) -> Inspected:
    """Tell type and size of an image from its header, and see that its end is there.

    Takes microseconds, allocates nothing that grows with the image or with the size it claims.
    Raises NotAnImage for anything but a whole PNG, JPEG or WebP of at most 64 MiB and 268 megapixels.
    """
    if len(image) > MAX_BYTES:
        raise NotAnImage(f"larger than {MAX_BYTES >> 20} MiB")
    header = read_header(image)
    if header is None:
        raise NotAnImage("neither PNG nor JPEG nor WebP, or without a whole header")
    if header.width * header.height > MAX_PIXELS:
        raise NotAnImage(f"{header.media_type} that claims {header.width} x {header.height} pixels")
    if not _has_end(image, header):
        raise NotAnImage(f"{header.media_type} that is cut off")
    return header


def _has_end(image: bytes, header: Header) -> bool:
    """Search from the end: bytes after the image are harmless and do occur, a missing end means a cut-off file."""
    match header.media_type:
        case "image/png":
            return b"IDAT" in image and image.rfind(_PNG_END) >= 0
        case "image/jpeg":
            # Behind the frame header, since a thumbnail before it has an end of its own; within the coded pixels the
            # two bytes cannot occur (a 0xFF there is followed by 0x00).
            return image.rfind(_JPEG_END, header.size_at) >= 0
        case "image/webp":
            return len(image) >= int.from_bytes(image[4:8], "little") + 8
