"""No key, URL or invisible character survives in what upstream wrote."""

import pytest

from gateway.upstream.scrub import TEXT_MAX, scrub


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("plain words, 中文。", "plain words, 中文。"),
        ("the key s3cret! is bad", "the key [removed] is bad"),
        ("s3c\u200bret!", "[removed]"),
        ("Authorization: bearer abc.def", "Authorization: [removed]"),
        ("see https://a.example/x?key=1, please", "see [removed] please"),
        ("见https://a.example/x查看", "见[removed]查看"),
        ("www.example.com/x", "[removed]"),
        ("key sk-ab****cdef9 refused", "key [removed] refused"),
        ("igw_sk_0123456789", "[removed]"),
        ("token 0123456789abcdef0123456789abcdef", "token [removed]"),
        ("a\r\nb\x1b[31m\u2028c\u202e", "a b [31m c"),
        (
            "gemini-2.5-flash-image-preview-09-2025, input_image_2",
            "gemini-2.5-flash-image-preview-09-2025, input_image_2",
        ),
        ("a task-oriented prompt", "a task-oriented prompt"),
    ],
)
def test_text_is_cleaned(text: str, clean: str) -> None:
    """Each kind of secret, link and control character is gone; ordinary words stay."""
    assert scrub(text, ("s3cret!",)) == clean


def test_a_secret_across_a_cut_is_gone_whole() -> None:
    """No part of a secret is left where the text was cut."""
    for padding in (TEXT_MAX - 3, 8192 - 3):
        assert "s3c" not in scrub("x" * padding + "s3cret!", ("s3cret!",))
    assert "s3c" not in scrub(" " * 8189 + "s3cret!", ("s3cret!",))
