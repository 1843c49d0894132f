"""Pictures worth looking at, drawn from a digest: a sky, a sun and a few ranges of hills, the words underneath.

The same recipe is always the same bytes, so an image that was dropped from memory can be drawn again.
"""

import hashlib
import math
import random
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING

from gateway.simulator.asked import PIXELS_MAX, Asked

if TYPE_CHECKING:  # some megabytes, which only what draws is to carry
    from PIL import Image, ImageDraw

GEMINI_SIZES = {
    "1:1": (1024, 1024),
    "2:3": (832, 1248),
    "3:2": (1248, 832),
    "3:4": (864, 1184),
    "4:5": (896, 1152),
    "5:4": (1152, 896),
    "9:16": (768, 1344),
    "16:9": (1344, 768),
    "21:9": (1536, 672),
}
"""Gemini 2.5 Flash Image draws these sizes and no others (Google's model page)."""

_CAPTION_CHARACTERS = 60
_PALETTES = (
    ((18, 24, 58), (96, 70, 132), (246, 148, 108), (255, 214, 150)),
    ((28, 88, 140), (104, 172, 210), (206, 232, 236), (255, 246, 214)),
    ((12, 30, 40), (20, 92, 96), (120, 188, 150), (242, 232, 170)),
    ((70, 26, 58), (168, 58, 84), (242, 140, 104), (255, 222, 160)),
    ((30, 26, 66), (72, 82, 168), (158, 160, 226), (250, 206, 222)),
    ((16, 54, 40), (70, 128, 84), (190, 206, 130), (255, 244, 190)),
)

Colour = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Recipe:
    """All that a picture is made of. `format` is jpeg or png."""

    digest: str
    caption: str
    width: int
    height: int
    format: str

    @property
    def mime_type(self) -> str:
        """The media type of the bytes."""
        return f"image/{self.format}"


def recipe(asked: Asked, prompt: str, seed: int, index: int) -> Recipe:
    """Say how the image number `index` of an answer is drawn: everything asked for goes into the digest."""
    width, height = size(asked)
    kind = asked.output_format if asked.is_flux else "png"
    told = repr((asked.model, prompt, asked.references, seed, width, height, kind, index))
    return Recipe(
        hashlib.sha256(told.encode(errors="backslashreplace")).hexdigest(), _caption(prompt), width, height, kind
    )


def size(asked: Asked) -> tuple[int, int]:
    """Return the width and height asked for; what is left open follows the ratio (default 1:1), near one megapixel."""
    ratio = "1:1" if asked.aspect_ratio is None else asked.aspect_ratio
    if not asked.is_flux:
        return GEMINI_SIZES[ratio]
    across, down = (int(part) for part in ratio.split(":"))
    match asked.width, asked.height:
        case None, None:
            unit = math.sqrt(2**20 / (across * down))
            return _sixteens(unit * across), _sixteens(unit * down)
        case int(width), None:
            return width, min(_sixteens(width * down / across), _sixteens(PIXELS_MAX / width))
        case None, int(height):
            return min(_sixteens(height * across / down), _sixteens(PIXELS_MAX / height)), height
        case int(width), int(height):
            return width, height
    raise AssertionError("sizes are whole numbers or None")


def draw(picture: Recipe) -> bytes:
    """Draw a picture and encode it, stamped with its digest; 20 to 40 ms for a megapixel on one core."""
    return stamp(paint(picture), picture.digest)


def paint(picture: Recipe) -> bytes:
    """Draw a picture and encode it."""
    from PIL import ImageDraw  # noqa: PLC0415 -- as above

    chance = random.Random(picture.digest)  # noqa: S311 -- a picture, not a secret
    canvas = _sky(chance, palette := chance.choice(_PALETTES), (picture.width, picture.height))
    pen = ImageDraw.Draw(canvas)
    _sun(pen, chance, palette[3], canvas.size)
    for colour, outline in _hills(chance, palette, canvas.size):
        pen.polygon(outline, fill=colour)
    _write(pen, picture.caption, canvas.size)
    encoded = BytesIO()
    if picture.format == "png":
        canvas.save(encoded, "PNG", compress_level=1)
    else:
        canvas.save(encoded, "JPEG", quality=85)
    return encoded.getvalue()


def stamp(encoded: bytes, comment: str) -> bytes:
    """Put a comment into a PNG or JPEG, so that pictures which look the same still are different files."""
    text = comment.encode()
    if encoded.startswith(b"\x89PNG"):
        chunk = b"tEXtComment\0" + text
        framed = (len(chunk) - 4).to_bytes(4) + chunk + zlib.crc32(chunk).to_bytes(4)
        return encoded[:33] + framed + encoded[33:]  # behind the signature and IHDR
    return encoded[:2] + b"\xff\xfe" + (len(text) + 2).to_bytes(2) + text + encoded[2:]


def _sixteens(side: float) -> int:
    return max(16, int(side) // 16 * 16)


def _caption(prompt: str) -> str:
    """Keep the words that the built-in font has letters for."""
    words = " ".join("".join(char if char.isascii() and char.isprintable() else " " for char in prompt[:400]).split())
    return words if len(words) <= _CAPTION_CHARACTERS else words[:_CAPTION_CHARACTERS].rsplit(" ", 1)[0] + " ..."


def _mix(one: Colour, other: Colour, share: float) -> Colour:
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(one, other, strict=True))
    return red, green, blue


def _sky(chance: random.Random, palette: tuple[Colour, ...], extent: tuple[int, int]) -> "Image.Image":
    """A few coloured points, stretched: a smooth gradient for the price of one resize."""
    from PIL import Image  # noqa: PLC0415 -- as above

    points = Image.new("RGB", (3, 4))
    for row in range(4):
        for column in range(3):
            points.putpixel((column, row), _mix(palette[row], palette[3], chance.uniform(0.0, 0.35)))
    return points.resize(extent, Image.Resampling.BICUBIC)


def _sun(pen: "ImageDraw.ImageDraw", chance: random.Random, colour: Colour, extent: tuple[int, int]) -> None:
    width, height = extent
    radius = min(extent) * chance.uniform(0.06, 0.13)
    x, y = width * chance.uniform(0.2, 0.8), height * chance.uniform(0.25, 0.5)
    pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=_mix(colour, (255, 255, 255), 0.5))


def _hills(
    chance: random.Random, palette: tuple[Colour, ...], extent: tuple[int, int]
) -> Iterator[tuple[Colour, list[tuple[float, float]]]]:
    """Four ranges, each nearer, lower and darker than the one before."""
    width, height = extent
    for layer in range(4):
        waves = [(chance.uniform(1, 9), chance.uniform(0, math.tau), chance.uniform(0.01, 0.05)) for _ in range(3)]
        foot = 0.55 + layer * 0.12
        outline = [(0.0, float(height))]
        for step in range(65):
            rise = sum(part * math.sin(wave * step / 64 * math.pi + phase) for wave, phase, part in waves)
            outline.append((width * step / 64, height * (foot - rise)))
        outline.append((float(width), float(height)))
        yield _mix(_mix(palette[1], palette[0], layer / 3), palette[2], 0.25 - layer * 0.08), outline


def _write(pen: "ImageDraw.ImageDraw", caption: str, extent: tuple[int, int]) -> None:
    from PIL import ImageFont  # noqa: PLC0415 -- as above

    width, height = extent
    if not caption or min(extent) < 64:  # noqa: PLR2004 -- smaller pictures have no room for words
        return
    points = max(8.0, min(height * 0.05, width * 1.7 / len(caption)))
    place = (width / 2, height - points)
    pen.text(place, caption, fill=(255, 255, 255), font=ImageFont.load_default(points), anchor="ms")
