"""A `multipart/form-data` body, read whole and in memory (RFC 7578): fields as JSON would give them, and files."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from jiter import LosslessFloat
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from gateway.contract import Violation, echo, parameter

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

MOST_PARTS = 64
MOST_FIELD_BYTES = 1 << 20
MOST_HEADER_BYTES = 8 << 10
_NUMBERS = frozenset({"n", "seed", "safety_tolerance", "partial_images"})
_FILES = frozenset({"image", "image[]"})
_TRUTHS = {"true": True, "false": False}


@dataclass(slots=True)
class Form:
    """What a form says: its fields, and the files of its images in their order."""

    fields: dict[str, Any] = field(default_factory=dict)
    images: list[bytes] = field(default_factory=list, repr=False)


def is_form(content_type: str | None) -> bool:
    """Whether a body is declared as a form."""
    return content_type is not None and parse_options_header(content_type)[0] == b"multipart/form-data"


def read_form(content_type: str, body: bytes) -> Form:
    """Read a form. Parsing a body of megabytes takes some milliseconds: read it in a thread. Raises Violation."""
    boundary = parse_options_header(content_type)[1].get(b"boundary")
    if not boundary:
        raise _malformed()
    reader = _Reader(body)
    try:
        parser = MultipartParser(boundary, reader.callbacks())
        parser.write(body)
        parser.finalize()
    except FormParserError:
        raise _malformed() from None
    if not reader.ended:
        raise _malformed()
    return reader.form


class _Reader:
    """Takes what the parser finds; it always finds places in the one body, so a file is copied once."""

    def __init__(self, body: bytes) -> None:
        self.form = Form()
        self.ended = False
        self._parts = 0
        self._header = bytearray()
        self._value = bytearray()
        self._headers: dict[bytes, bytes] = {}
        self._content = bytearray()
        self._size = len(body)

    def callbacks(self) -> "MultipartCallbacks":
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._header_field,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_part_data": self._data,
            "on_part_end": self._end,
            "on_end": self._finish,
        }

    def _begin(self) -> None:
        self._parts += 1
        if self._parts > MOST_PARTS:
            raise parameter("image", f"A form has at most {MOST_PARTS} parts")
        self._headers, self._content = {}, bytearray()

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]
        self._bounded()

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]
        self._bounded()

    def _bounded(self) -> None:
        if len(self._header) + len(self._value) > MOST_HEADER_BYTES:
            raise _malformed()

    def _header_end(self) -> None:
        self._headers[bytes(self._header).lower()] = bytes(self._value)
        self._header, self._value = bytearray(), bytearray()

    def _data(self, data: bytes, start: int, end: int) -> None:
        self._content += memoryview(data)[start:end]

    def _end(self) -> None:
        disposition, options = parse_options_header(self._headers.get(b"content-disposition"))
        if disposition != b"form-data" or b"name" not in options:
            raise _malformed()
        name = options[b"name"].decode(errors="replace")
        if name in _FILES:
            self.form.images.append(bytes(self._content))
        elif b"filename" in options or len(self._content) > MOST_FIELD_BYTES:
            raise parameter(echo(name), "Not supported as a file by this gateway")
        else:
            self._field(name, bytes(self._content))

    def _field(self, name: str, content: bytes) -> None:
        if name in self.form.fields:
            raise Violation(f"Invalid request body. Duplicate parameter: {echo(name)}")
        try:
            text = content.decode()
        except UnicodeDecodeError:
            raise parameter(echo(name), "Text in UTF-8 is required") from None
        self.form.fields[name] = _as_json(name, text)

    def _finish(self) -> None:
        self.ended = True


def _as_json(name: str, text: str) -> object:
    if name in _NUMBERS:
        return LosslessFloat(text.encode()) if _is_number(text) else text
    return _TRUTHS.get(text, text) if name == "stream" else text


def _is_number(text: str) -> bool:
    return text.isascii() and text.removeprefix("-").isdigit()


def _malformed() -> Violation:
    return Violation("Invalid request body. A multipart form is required")
