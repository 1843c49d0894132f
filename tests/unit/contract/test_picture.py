"""Headers of pictures: format and size from the first bytes, and None for anything else."""

from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from gateway.contract import Header, MediaType, read_header
from tests.unit.contract.samples import png

TYPES: dict[str, MediaType] = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp"}


def _drawn(kind: str, size: tuple[int, int], **options: object) -> bytes:
    file = BytesIO()
    Image.new("RGBA" if options.pop("alpha", False) else "RGB", size, "teal").save(file, kind, **options)
    return file.getvalue()


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("PNG", {}),
        ("JPEG", {}),
        ("JPEG", {"progressive": True}),
        ("JPEG", {"exif": b"Exif\0\0" + bytes(60_000), "icc_profile": bytes(150_000)}),
        ("WEBP", {}),
        ("WEBP", {"lossless": True}),
        ("WEBP", {"exif": b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0"}),
        ("WEBP", {"lossless": True, "alpha": True}),
    ],
)
def test_real_pictures(kind: str, options: dict[str, object]) -> None:
    """What an encoder writes is read as the size it was given."""
    assert read_header(_drawn(kind, (321, 123), **options)) == Header(TYPES[kind], 321, 123)


def test_fill_bytes_and_markers_without_length() -> None:
    """Fill bytes before a marker and markers without a length are walked over, as T.81 allows them."""
    plain = _drawn("JPEG", (40, 30))
    assert read_header(plain[:2] + b"\xff\x01\xff\xff\xff" + plain[2:]) == Header("image/jpeg", 40, 30)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_cut_off_pictures(kind: str) -> None:
    """A file that ends before its size is none; the header is whole as soon as the size is there."""
    whole = _drawn(kind, (400, 300))
    read = [read_header(whole[:length]) for length in range(len(whole))]
    assert read[0] is None
    first = next(index for index, header in enumerate(read) if header is not None)
    assert all(header == Header(TYPES[kind], 400, 300) for header in read[first:])


def test_the_shortest_picture() -> None:
    """A lossless WebP may be as short as 26 bytes."""
    shortest = b"RIFF\x12\0\0\0WEBPVP8L\x06\0\0\0\x2fAlo\0k"
    assert read_header(shortest) == Header("image/webp", 11_330, 446)


def test_a_file_of_nothing_but_markers() -> None:
    """A long row of markers is given up on, not walked to its end."""
    assert read_header(b"\xff\xd8" + b"\xff\x01" * 10_000_000) is None


@given(st.sampled_from([png(3, 4), _drawn("JPEG", (9, 9)), _drawn("WEBP", (9, 9)), b"\xff\xd8\xff"]), st.data())
def test_damaged_pictures_never_raise(file: bytes, data: st.DataObject) -> None:
    """However a file is cut and overwritten, it is read as a header with a size or as none."""
    at = data.draw(st.integers(0, len(file)))
    header = read_header(file[:at] + data.draw(st.binary(max_size=40)) + file[at + data.draw(st.integers(0, 9)) :])
    assert header is None or (header.width > 0 and header.height > 0)
