"""A multipart form is read like the JSON it stands for, and nothing that is malformed gets through."""

import pytest

from gateway.api.openai.form import MOST_FIELD_BYTES, MOST_PARTS, is_form, read_form
from gateway.contract import Violation, read_integer

TYPE = "multipart/form-data; boundary=edge"


def part(name: str, content: bytes, filename: str | None = None) -> bytes:
    """Write a part."""
    file = "" if filename is None else f'; filename="{filename}"'
    head = f'--edge\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'
    return head.encode() + content + b"\r\n"


def refusal(body: bytes, content_type: str = TYPE) -> str:
    """Return what is said of a form that is refused."""
    with pytest.raises(Violation) as caught:
        read_form(content_type, body)
    return caught.value.text


def test_fields_and_files_are_told_apart() -> None:
    """Fields come as JSON would have given them, images in their order and byte for byte."""
    binary = bytes(range(256)) * 9 + b"\r\n--edgy\r\n"
    body = (
        part("prompt", "猫".encode())
        + part("n", b"2")
        + part("stream", b"false")
        + part("image[]", binary, "a.png")
        + part("image[]", b"second", "b.png")
        + b"--edge--\r\n"
    )
    form = read_form(TYPE, body)
    assert (form.fields["prompt"], read_integer(form.fields["n"]), form.fields["stream"]) == ("猫", 2, False)
    assert form.images == [binary, b"second"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no form",
        part("prompt", b"p"),
        part("prompt", b"p") + b"--edge",
        b"--edge\r\nContent-Type: text/plain\r\n\r\nx\r\n--edge--\r\n",
        b'--edge\r\nContent-Disposition: attachment; name="x"\r\n\r\nx\r\n--edge--\r\n',
        b"--edge\r\nX: " + b"y" * 9000 + b"\r\n\r\nx\r\n--edge--\r\n",
    ],
)
def test_what_is_malformed_is_refused(body: bytes) -> None:
    """Cut off, without an end, without a name, or with endless headers."""
    assert refusal(body) == "Invalid request body. A multipart form is required"


def test_a_form_without_a_boundary_is_refused() -> None:
    """There is no telling its parts apart."""
    assert refusal(part("prompt", b"p") + b"--edge--\r\n", "multipart/form-data").endswith("form is required")


def test_what_a_form_may_not_hold() -> None:
    """A field twice, a file elsewhere than in `image`, text that is none, and more than a form needs."""
    end = b"--edge--\r\n"
    assert refusal(part("n", b"1") * 2 + end) == "Invalid request body. Duplicate parameter: n"
    assert (
        refusal(part("mask", b"x", "m.png") + end) == "Invalid mask parameter. Not supported as a file by this gateway"
    )
    assert refusal(part("prompt", b"x" * (MOST_FIELD_BYTES + 1)) + end).startswith("Invalid prompt parameter.")
    assert refusal(part("prompt", b"\xff") + end) == "Invalid prompt parameter. Text in UTF-8 is required"
    many = b"".join(part(f"f{number}", b"") for number in range(MOST_PARTS + 1))
    assert refusal(many + end) == f"Invalid image parameter. A form has at most {MOST_PARTS} parts"


def test_only_forms_are_forms() -> None:
    """The media type decides, whatever its case and parameters."""
    assert is_form("Multipart/Form-Data; boundary=x")
    assert not any(map(is_form, (None, "", "application/json", "multipart/mixed; boundary=x")))
