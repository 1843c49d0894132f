"""Reference images: Base64 of a picture, or a URL that upstream may fetch."""

import tracemalloc
from base64 import b64decode, b64encode, encodebytes

import pytest

from gateway.contract import ReferenceBytes, ReferenceLink
from tests.unit.contract.samples import OWN_LINKS, PNG1, F, ask, im1, im2, im3, im4, png, refused

URL = "https://example.com/reference.jpg"


def _given(value: object) -> ReferenceBytes | ReferenceLink:
    ((slot, reference),) = ask(F, input_image=value).references
    assert slot == 1
    return reference


def _base64(file: bytes) -> str:
    return b64encode(file).decode()


def test_the_documents_own_image() -> None:
    """The document's Base64 image is accepted, described by its bytes and sent as it came."""
    reference = _given(PNG1)
    assert isinstance(reference, ReferenceBytes)
    assert (reference.media_type, reference.width, reference.height) == ("image/png", 1, 1)
    assert reference.size == len(b64decode(PNG1)) == 70
    assert ask(F, input_image=PNG1).wire() == {**F, "input_image": PNG1}


@pytest.mark.parametrize(
    "written",
    [
        f"data:image/png;base64,{PNG1}",
        f"data:image/webp;base64,{PNG1}",
        f"DATA:image/PNG;Base64,{PNG1}",
        encodebytes(b64decode(PNG1)).decode(),
        "\r\n".join(PNG1[start : start + 64] for start in range(0, len(PNG1), 64)),
        f" {PNG1}\t\v\f",
    ],
)
def test_other_spellings_of_the_same_image(written: str) -> None:
    """A data URL and wrapped lines are the same image: the same fingerprint, sent upstream as bare Base64."""
    assert ask(F, input_image=written) == ask(F, input_image=PNG1)
    assert ask(F, input_image=written).canonical() == ask(F, input_image=PNG1).canonical()
    assert ask(F, input_image=written).wire()["input_image"] == PNG1


def test_unused_bits_are_cleared() -> None:
    """Base64 whose last character carries unused bits is sent on in its canonical form."""
    assert PNG1.endswith("gg==")
    assert ask(F, input_image=PNG1[:-4] + "gk==") == ask(F, input_image=PNG1)


@pytest.mark.parametrize(
    "value",
    [
        "not base64 !",
        "",
        " ",
        None,
        1,
        True,
        [URL],
        {"url": URL},
        PNG1[:-1],
        PNG1[:-2],
        PNG1.replace("/", "_").replace("+", "-"),
        PNG1 + "=",
        PNG1[:40] + "=" + PNG1[40:],
        PNG1 + "é",
        PNG1[:20] + "\u3000" + PNG1[20:],
        PNG1[:20] + "\x1c" + PNG1[20:],
        PNG1 + "\0",
        "data:image/png,%89PNG",
        f"data:image/gif;base64,{PNG1}",
        f"data:image/jpg;base64,{PNG1}",
        f"data:;base64,{PNG1}",
        f"data:text/plain;base64,{PNG1}",
        f"data:image/png;charset=x;base64,{PNG1}",
        "data:image/png;base64,!",
        "data:image/png;base64,",
        "A",
        "ftp://a/b",
        "file:///etc/passwd",
        "gopher://example.com/",
        "javascript:alert(1)",
        "//example.com/a.png",
        "example.com/a.png",
        "https://",
        "https:///a.png",
        "https:example.com",
        "http://?x",
        "https://example.com/a b.png",
        " https://example.com/a.png",
        "https://example.com/a.png\n",
        "https://example.com/\u3000a.png",
        "https://example.com\\@127.0.0.1/a.png",
        "https://user:password@example.com/a.png",
        "https://user@example.com/a.png",
        "https://@example.com/a.png",
        "https://example.com:99999/a.png",
        "https://example.com:0/a.png",
        "https://example.com:x/a.png",
        "https://[::1/a.png",
        "https://[v1.x]/a.png",
        "https://[2606::1%25eth0]/a.png",
        "https://local\u00adhost/a.png",
        "https://127\u30020\u30020\u30021/a.png",
        "https://ex%61mple.com/a.png",
        "https://a..b/a.png",
        "https://1.2.3.4.5/a.png",
        "https://256.1.1.1/a.png",
        "https://4294967296/a.png",
        "https://09.1.1.1/a.png",
        "https://exa$mple.com/",
        "https://" + "9" * 5000 + "/",
        "https://" + "a" * 64 + ".example/",
        "https://example.com/" + "a" * 8192,
    ],
)
def test_neither_base64_nor_url(value: object) -> None:
    """What is neither an image in Base64 nor a plain http URL is refused."""
    assert refused(F, input_image=value) == im1()


@pytest.mark.parametrize(
    "file",
    [
        b"hello world",
        b'<svg xmlns="http://www.w3.org/2000/svg"/>',
        b"GIF89a\x01\x00\x01\x00\x00\x00\x00;",
        b"%PDF-1.7\n",
        b"BM" + bytes(60),
        b"\0\0\0\x1cftypavif" + bytes(60),
        b"\x89PNG\r\n\x1a\n",
        png(0, 1),
        png(1, 0),
        png(1, 1)[:30],
        b"\xff\xd8\xff\xd9",
        b"\xff\xd8\xff\xe0\x00\x10JFIF",
        b"RIFF\x10\0\0\0WAVEfmt " + bytes(40),
        b"RIFF\x10\0\0\0WEBPVP8?" + bytes(40),
    ],
)
def test_not_a_known_picture(file: bytes) -> None:
    """Bytes that do not begin with the header of a PNG, JPEG or WebP are refused by format."""
    assert refused(F, input_image=_base64(file)) == im2()


@pytest.mark.parametrize(("size", "accepted"), [(20_000_000, True), (20_971_520, True), (20_971_521, False)])
def test_bytes_of_a_reference(size: int, accepted: bool) -> None:
    """A file of 20 MiB is accepted to the byte, one byte more is not."""
    file = png(8, 8, size=size)
    assert len(file) == size
    if accepted:
        reference = _given(_base64(file))
        assert isinstance(reference, ReferenceBytes)
        assert reference.size == size
    else:
        assert refused(F, input_image=_base64(file)) == im3()


def test_white_space_does_not_count_as_size() -> None:
    """A file of exactly 20 MiB may be wrapped into lines; one that is larger is refused wrapped or not."""
    assert isinstance(_given(encodebytes(png(8, 8, size=20_971_520)).decode()), ReferenceBytes)
    assert refused(F, input_image=encodebytes(png(8, 8, size=21_000_000)).decode()) == im3()


@pytest.mark.parametrize(
    ("width", "height", "accepted"),
    [
        (5000, 4000, True),
        (4096, 5120, True),
        (4096, 5121, False),
        (100_000, 100_000, False),
        (2**31 - 1, 2**31 - 1, False),
    ],
)
def test_pixels_of_a_reference(width: int, height: int, accepted: bool) -> None:
    """Twenty megapixels of 1024 × 1024 are accepted to the row, judged by the header alone."""
    file = _base64(png(width, height, size=1000))
    if accepted:
        assert isinstance(_given(file), ReferenceBytes)
    else:
        assert refused(F, input_image=file) == im3()


def test_a_bomb_costs_no_memory() -> None:
    """A small file that claims 100,000 × 100,000 pixels is refused without room for them."""
    bomb = _base64(png(100_000, 100_000, size=1000))
    tracemalloc.start()
    try:
        assert refused(F, input_image=bomb) == im3()
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_each_image_keeps_its_slot() -> None:
    """Gaps between the slots stay: the third image is the third, whatever comes before it."""
    given = ask(F, input_image_3=PNG1, input_image_8=URL)
    assert [slot for slot, _ in given.references] == [3, 8]
    assert given.wire() == {**F, "input_image_3": PNG1, "input_image_8": URL}


def test_eight_images() -> None:
    """All eight slots may be filled, and a fault names its own."""
    eight = {"input_image": PNG1, **{f"input_image_{slot}": PNG1 for slot in range(2, 9)}}
    assert ask(F, **eight).wire() == {**F, **eight}
    assert refused(F, **{**eight, "input_image_5": "bad !"}) == im1("input_image_5")
    assert refused(F, input_image=PNG1, input_image_2=None) == im1("input_image_2")


@pytest.mark.parametrize(
    "url",
    [
        URL,
        "http://example.com",
        "HTTPS://EXAMPLE.COM/A.PNG?x=1&y=%20#z",
        "https://example.com:8443/a.png",
        "https://example.com./a.png",
        "https://8.8.8.8/a.png",
        "http://[2606:4700:4700::1111]/a.png",
        "http://134744072/a.png",
        "https://例え.example/图.png",
        "https://my_bucket.s3.example/a.png",
        "https://localhost.example.com/a.png",
        "https://example.com/" + "a" * 8172,
    ],
)
def test_urls_are_sent_unchanged(url: str) -> None:
    """A public URL is an ask's link, to the letter, and is not fetched."""
    assert _given(url) == ReferenceLink(url, own=False)
    assert ask(F, input_image=url).wire()["input_image"] == url


@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254",
        "127.0.0.1",
        "127.0.0.1:8080",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "100.64.0.1",
        "0.0.0.0",
        "0",
        "255.255.255.255",
        "224.0.0.1",
        "192.0.2.1",
        "198.18.0.1",
        "2130706433",
        "127.1",
        "127.0.1",
        "0x7f.1",
        "0x7F000001",
        "0177.0.0.1",
        "017700000001",
        "0xa9fea9fe",
        "127.0.0.1.",
        "\uff11\uff12\uff17.0.0.1",
        "[::1]",
        "[::]",
        "[::ffff:10.0.0.1]",
        "[::ffff:8.8.8.8]",
        "[::127.0.0.1]",
        "[64:ff9b::a00:1]",
        "[64:ff9b:1::1]",
        "[2002:a00:1::]",
        "[2001:0:1::]",
        "[fc00::1]",
        "[fe80::1]",
        "[fec0::1]",
        "[ff02::1]",
        "[1234::1]",
        "[2606:4700::5efe:7f00:1]",
        "localhost",
        "LOCALHOST",
        "localhost.",
        "a.localhost",
        "\uff4c\uff4f\uff43\uff41\uff4c\uff48\uff4f\uff53\uff54",
    ],
)
def test_addresses_of_other_networks(host: str) -> None:
    """A URL that names a private, local or disguised address, in any spelling, cannot be what upstream can reach."""
    assert refused(F, input_image=f"http://{host}/a.png") == im4()


def test_a_link_of_this_gateway() -> None:
    """A link of this gateway is recognised, though its address is a private one."""
    link = OWN_LINKS + "tnt/abc.png?e=1&s=2"
    assert _given(link) == ReferenceLink(link, own=True)
    assert refused(F, input_image="http://127.0.0.1:8080/other") == im4()
    assert refused(F, input_image=OWN_LINKS + "a b") == im1()
