"""Small real images for tests, made by a library that is no part of what is tested."""

import io
import struct
import zlib

from PIL import Image


def picture(kind: str, width: int = 3, height: int = 2, **options: object) -> bytes:
    """Encode a plain image as PNG, JPEG, WEBP, or any other format that Pillow writes."""
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), (200, 30, 30)).save(buffer, kind, **options)
    return buffer.getvalue()


def png_claiming(width: int, height: int) -> bytes:
    """Make a whole PNG whose header claims a size that its few pixels do not have."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in chunks
    )
