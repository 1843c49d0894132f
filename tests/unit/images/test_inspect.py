"""What headers say, and what is no image."""

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.images.inspect import MAX_BYTES, Inspected, NotAnImage, inspect
from tests.unit.images.pictures import picture, png_claiming

KINDS = {
    "png": ("image/png", picture("PNG", 640, 480)),
    "jpeg": ("image/jpeg", picture("JPEG", 640, 480)),
    "progressive jpeg": ("image/jpeg", picture("JPEG", 640, 480, progressive=True)),
    "jpeg with metadata": (
        "image/jpeg",
        picture("JPEG", 640, 480, icc_profile=bytes(200_000), comment=b"\xff\xd9" * 9),
    ),
    "webp": ("image/webp", picture("WEBP", 640, 480)),
    "lossless webp": ("image/webp", picture("WEBP", 640, 480, lossless=True)),
    "extended webp": ("image/webp", picture("WEBP", 640, 480, icc_profile=bytes(300))),
}
OTHERS = {
    "nothing": b"",
    "svg": b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>',
    "html": b"<!doctype html><title>404</title>",
    "json": b'{"code": -1, "msg": "expired"}',
    "pdf": b"%PDF-1.7\n%%EOF",
    "gif": picture("GIF"),
    "bmp": picture("BMP"),
    "tiff": picture("TIFF"),
    "ico": picture("ICO"),
    "wav": b"RIFF\x24\x00\x00\x00WAVEfmt " + bytes(40),
    "png start": b"\x89PNG\r\n\x1a\n",
    "jpeg start": b"\xff\xd8\xff",
    "jpeg of nothing": b"\xff\xd8\xff\xd9",
    "jpeg without frame": b"\xff\xd8" + b"\xff\xe0\x00\x02" * 5000 + b"\xff\xd9",
    "jpeg of endless fill": b"\xff\xd8" + b"\xff" * 100_000 + b"\xff\xd9",
    "jpeg with lengths of nought": b"\xff\xd8" + b"\xff\xe0\x00\x00" * 100,
    "webp start": b"RIFF\x04\x00\x00\x00WEBP",
    "webp of another codec": b"RIFF\x1e\x00\x00\x00WEBPVP9 " + bytes(30),
    "png of no width": png_claiming(0, 5),
    "png of impossible width": png_claiming(1 << 31, 5),
    "image behind html": b"<html>" + picture("PNG"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_tells_type_and_size(kind: str) -> None:
    """Each kind of image tells its type and size, also with bytes behind its end."""
    media_type, image = KINDS[kind]
    assert inspect(image) == Inspected(media_type, 640, 480)  # type: ignore[arg-type]  # -- one of three, by the table
    assert inspect(image + b"\n\n").width == 640


@pytest.mark.parametrize("kind", KINDS)
def test_refuses_cut_off_images(kind: str) -> None:
    """An image that lost its tail is refused, wherever it was cut."""
    image = KINDS[kind][1]
    for length in {*range(40), *range(40, len(image) - 1, 97), len(image) - 2, len(image) // 2}:
        with pytest.raises(NotAnImage):
            inspect(image[:length])


@pytest.mark.parametrize("kind", OTHERS)
def test_refuses_what_is_no_image(kind: str) -> None:
    """Documents, other formats and empty shells are no images."""
    with pytest.raises(NotAnImage):
        inspect(OTHERS[kind])


def test_a_cut_off_jpeg_is_not_saved_by_its_thumbnail() -> None:
    """The end of a thumbnail within the metadata is not the end of the image."""
    whole = KINDS["jpeg"][1]
    thumbnail = b"\xff\xe1" + (2 + len(whole)).to_bytes(2) + whole
    assert inspect(whole[:2] + thumbnail + whole[2:]).width == 640
    with pytest.raises(NotAnImage, match="cut off"):
        inspect(whole[:2] + thumbnail + whole[2:-2])


def test_sizes_cost_nothing() -> None:
    """What a header claims takes no memory; more than a browser shows, such as 100,000 x 100,000, is refused."""
    largest, bomb = png_claiming(16_384, 16_384), png_claiming(100_000, 100_000)
    tracemalloc.start()
    try:
        assert inspect(largest) == Inspected("image/png", 16_384, 16_384)
        with pytest.raises(NotAnImage, match="100000 x 100000"):
            inspect(bomb)
        assert tracemalloc.get_traced_memory()[1] < 10_000
    finally:
        tracemalloc.stop()


def test_has_a_largest_image() -> None:
    """64 MiB are taken, a byte more is not."""
    image = picture("PNG")
    assert inspect(image + bytes(MAX_BYTES - len(image))).width == 3
    with pytest.raises(NotAnImage, match="larger than 64 MiB"):
        inspect(image + bytes(MAX_BYTES - len(image) + 1))


@given(st.sampled_from(sorted(KINDS)), st.integers(0, 200), st.binary(max_size=8))
def test_never_fails_otherwise(kind: str, at: int, change: bytes) -> None:
    """However an image's first bytes are altered, it is either read or refused."""
    image = KINDS[kind][1]
    try:
        found = inspect(image[:at] + change + image[at + len(change) :])
    except NotAnImage:
        return
    assert found.width >= 1
    assert found.height >= 1
