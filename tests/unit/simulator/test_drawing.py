"""Pictures: the right size, the same every time, and quick."""

import asyncio
from io import BytesIO

import pytest
from PIL import Image

from gateway.simulator.asked import RATIOS, Asked
from gateway.simulator.drawing import Recipe, draw, recipe, size, stamp
from gateway.simulator.gallery import Gallery


@pytest.mark.parametrize("ratio", RATIOS)
def test_a_ratio_becomes_about_a_megapixel(ratio: str) -> None:
    """Without a size a Flux picture has the ratio's shape, sides in sixteens, and at most 2^20 pixels."""
    width, height = size(Asked("flux-2-pro", "p", ratio))
    across, down = (int(part) for part in ratio.split(":"))
    assert width % 16 == height % 16 == 0
    assert 2**20 * 0.9 < width * height <= 2**20
    assert width / height == pytest.approx(across / down, rel=0.05)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (Asked("flux-2-pro", "p"), (1024, 1024)),
        (Asked("flux-2-pro", "p", "16:9", width=64, height=32), (64, 32)),
        (Asked("flux-2-pro", "p", "2:3", width=512), (512, 768)),
        (Asked("flux-2-pro", "p", "21:9", height=16), (32, 16)),
        (Asked("flux-2-pro", "p", width=4096), (4096, 1024)),
        (Asked("gemini-2.5-flash-image", "p", "21:9"), (1536, 672)),
    ],
)
def test_the_size_follows_the_request(asked: Asked, expected: tuple[int, int]) -> None:
    """Width and height override the ratio; one alone is completed by it, within four megapixels."""
    assert size(asked) == expected


@pytest.mark.parametrize("kind", ["jpeg", "png"])
@pytest.mark.parametrize("extent", [(16, 16), (64, 2048), (2048, 16)])
def test_any_shape_can_be_drawn(kind: str, extent: tuple[int, int]) -> None:
    """Narrow, tiny and captioned pictures decode, and are the same bytes when drawn again."""
    picture = Recipe("digest", "some words underneath", *extent, kind)
    assert draw(picture) == draw(picture)
    opened = Image.open(BytesIO(draw(picture)))
    opened.load()
    assert (opened.size, opened.format) == (extent, kind.upper())


def test_everything_asked_for_makes_the_picture() -> None:
    """Prompt, seed, model, references and position each change the recipe."""
    asked = Asked("flux-2-pro", "p", width=16, height=16)
    digests = {
        recipe(asked, "p", 1, 0).digest,
        recipe(asked, "q", 1, 0).digest,
        recipe(asked, "p", 2, 0).digest,
        recipe(asked, "p", 1, 1).digest,
        recipe(Asked("flux-1.1-pro", "p", width=16, height=16), "p", 1, 0).digest,
        recipe(Asked("flux-2-pro", "p", references=("r",), width=16, height=16), "p", 1, 0).digest,
    }
    assert len(digests) == 6


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_stamp_changes_bytes_and_not_the_picture(kind: str) -> None:
    """A comment makes another file of the same pixels, without loss."""
    encoded = BytesIO()
    Image.effect_noise((32, 32), 50).save(encoded, kind)
    one, other = stamp(encoded.getvalue(), "one"), stamp(encoded.getvalue(), "other")
    assert one != other
    assert Image.open(BytesIO(one)).tobytes() == Image.open(encoded).tobytes() == Image.open(BytesIO(other)).tobytes()


def test_the_gallery_keeps_a_bounded_number_of_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A picture that was dropped is drawn again, the same."""
    monkeypatch.setattr("gateway.simulator.gallery._BYTES_KEPT", 2000)
    gallery = Gallery(None)

    async def look() -> None:
        pictures = [Recipe(str(number), "", 64, 64, "jpeg") for number in range(20)]
        first = [await gallery.image(picture) for picture in pictures]
        assert gallery._bytes == sum(map(len, gallery._drawn.values())) <= 2000
        assert [await gallery.image(picture) for picture in pictures] == first

    try:
        asyncio.run(look())
    finally:
        gallery.close()
