"""What the tests of the contract share: the rules of the documented models, the document's own image, a PNG builder."""

import struct
import zlib
from collections.abc import Mapping
from typing import Any

import orjson
import pytest

from gateway.contract import OPTIONS, GenerateAsk, ModelRules, Violation, read_ask

FLUX = ModelRules("flux-2-pro", frozenset(OPTIONS), 8, 64, 0, 4_194_304, 16, 131_072)
FLUX_1 = ModelRules("flux-1.1-pro", frozenset(OPTIONS), 8, 256, 1440, 0, 16, 131_072)
GEMINI = ModelRules("gemini-2.5-flash-image", frozenset({"aspect_ratio", "input_image"}), 8, 0, 0, 0, 16, 131_072)
MODELS: Mapping[str, ModelRules] = {rules.name: rules for rules in (FLUX, FLUX_1, GEMINI)}
USABLE = ("flux-2-pro", "gemini-2.5-flash-image")
OWN_LINKS = "http://127.0.0.1:8080/images/"

F: Mapping[str, Any] = {"model": "flux-2-pro", "prompt": "p"}
G: Mapping[str, Any] = {"model": "gemini-2.5-flash-image", "prompt": "p"}

PNG1 = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="  # the document's
)

RATIOS = ("1:1", "2:3", "3:2", "3:4", "4:5", "5:4", "9:16", "16:9", "21:9")
AR = "Invalid aspect_ratio parameter. Supported ratios: 1:1, 2:3, 3:2, 3:4, 4:5, 5:4, 9:16, 16:9, 21:9"
MD1 = "Invalid model parameter. A model name is required"
MD2 = "Invalid model parameter. Supported models: flux-2-pro, gemini-2.5-flash-image"
PR1 = "Invalid prompt parameter. A non-empty text is required"
PR2 = "Invalid prompt parameter. Maximum length: 131072 characters"
PR3 = "Invalid prompt parameter. Valid Unicode text without NUL is required"
SE1 = "Invalid seed parameter. Must be an integer or null"
SE2 = "Invalid seed parameter. Supported range: -9223372036854775808 to 18446744073709551615"
ST1 = "Invalid safety_tolerance parameter. Supported values: 0, 1, 2, 3, 4, 5"
OF1 = "Invalid output_format parameter. Supported formats: jpeg, png"
BO1 = "Invalid request body. A JSON object is required"


def im1(name: str = "input_image") -> str:
    """Return the message for what is neither Base64 nor an acceptable URL."""
    return f"Invalid {name} parameter. Supported forms: Base64-encoded image, http or https image URL"


def im2(name: str = "input_image") -> str:
    """Return the message for bytes that are no known picture."""
    return f"Invalid {name} parameter. Supported formats: jpeg, png, webp"


def im3(name: str = "input_image") -> str:
    """Return the message for a picture that is too large."""
    return f"Invalid {name} parameter. Maximum size: 20MB or 20MP"


def im4(name: str = "input_image") -> str:
    """Return the message for a URL of another network."""
    return f"Invalid {name} parameter. The URL must be publicly reachable"


def wh1(name: str) -> str:
    """Return the message for a side that is no multiple of 16."""
    return f"Invalid {name} parameter. Must be a positive multiple of 16 or null"


def unknown(name: str) -> str:
    """Return the message for a name that is not in the document."""
    return (
        f"Invalid {name} parameter. Supported parameters: model, prompt, aspect_ratio, input_image, input_image_2, "
        "input_image_3, input_image_4, input_image_5, input_image_6, input_image_7, input_image_8, width, height, "
        "seed, safety_tolerance, output_format"
    )


def read(body: bytes) -> GenerateAsk:
    """Read a raw body by the rules of the documented models."""
    return read_ask(body, MODELS, usable=USABLE, own_links=(OWN_LINKS,))


def ask(base: Mapping[str, Any], **fields: object) -> GenerateAsk:
    """Read a body made of a base and more fields."""
    return read(orjson.dumps({**base, **fields}))


def refusal(body: bytes) -> str:
    """Return the words in which a raw body is refused."""
    with pytest.raises(Violation) as refused:
        read(body)
    assert str(refused.value) == refused.value.text
    return refused.value.text


def refused(base: Mapping[str, Any], **fields: object) -> str:
    """Return the words in which a base with more fields is refused."""
    return refusal(orjson.dumps({**base, **fields}))


def png(width: int, height: int, *, size: int = 0) -> bytes:
    """Build a PNG whose header says width × height, padded by an ancillary chunk to `size` bytes if that is given."""
    head = b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0))
    tail = _chunk(b"IDAT", zlib.compress(b"\0" * 5)) + _chunk(b"IEND", b"")
    padding = size - len(head) - len(tail) - 12
    return head + (_chunk(b"prIv", bytes(padding)) if padding >= 0 else b"") + tail


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
