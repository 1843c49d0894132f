"""Base64 in every form that an upstream may send."""

import base64
import threading
from time import monotonic

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.images.decode import decode_base64
from gateway.images.inspect import NotAnImage
from tests.unit.images.pictures import picture

IMAGE = picture("PNG") + b"\xfb\xff\xfe?"  # so that both alphabets differ
PLAIN = base64.b64encode(IMAGE).decode()


@pytest.mark.parametrize(
    "text",
    [
        PLAIN,
        PLAIN.rstrip("="),
        base64.urlsafe_b64encode(IMAGE).decode(),
        base64.urlsafe_b64encode(IMAGE).decode().rstrip("="),
        base64.encodebytes(IMAGE).decode(),
        PLAIN.replace("A", "A\r\n "),
        f" \n{PLAIN}\n",
        f"data:image/png;base64,{PLAIN}",
        f"data:image/png;charset=utf-8;base64,\n{PLAIN}",
        f"DATA:;BASE64,{PLAIN}",
        PLAIN.encode(),
        f"data:image/jpeg;base64,{PLAIN}".encode(),
    ],
)
def test_reads_every_form(text: str | bytes) -> None:
    """A prefix, line breaks, missing padding and the other alphabet do not hide the image."""
    assert decode_base64(text) == IMAGE


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "=",
        "====",
        "A",
        "not base64!",
        "图片",
        PLAIN + "*",
        "data:image/png,AAAA",
        "data:image/png;base64",
        "A=AA=A",
        "\x00",
    ],
)
def test_refuses_the_rest(text: str) -> None:
    """What is no base64, or holds nothing, is no image."""
    with pytest.raises(NotAnImage):
        decode_base64(text)


def test_has_a_longest_text() -> None:
    """A text longer than the largest image with line breaks is refused before it is decoded."""
    with pytest.raises(NotAnImage, match="longer"):
        decode_base64("A" * (97 << 20))


@given(st.binary(min_size=1), st.booleans(), st.booleans())
def test_gives_back_what_was_encoded(content: bytes, urlsafe: bool, padded: bool) -> None:
    """Any bytes survive, in either alphabet, padded or not."""
    text = (base64.urlsafe_b64encode if urlsafe else base64.b64encode)(content).decode()
    assert decode_base64(text if padded else text.rstrip("=")) == content


def test_lets_other_threads_run() -> None:
    """While 60 MB are decoded in a thread, another thread is not kept from the interpreter for most of that time."""
    text = base64.b64encode(bytes(60 << 20)).decode()

    def free_share() -> float:
        worker = threading.Thread(target=decode_base64, args=(text,))
        worker.start()
        began = last = monotonic()
        longest = 0.0
        while worker.is_alive():
            now = monotonic()
            longest, last = max(longest, now - last), now
        return 1 - longest / (monotonic() - began)

    # A busy machine may halt this thread for its own reasons, so one good run of several shows it.
    assert any(free_share() > 0.5 for _ in range(10))
