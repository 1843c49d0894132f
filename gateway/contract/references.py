"""One reference image: Base64 of a picture, or a URL."""

import re
from binascii import Error as NotBase64
from hashlib import sha256
from urllib.parse import SplitResult, urlsplit

import pybase64

from gateway.contract import violation
from gateway.contract.addresses import is_reachable, read_host
from gateway.contract.ask import Reference, ReferenceBytes, ReferenceLink
from gateway.contract.picture import read_header
from gateway.contract.violation import Violation

MAX_REFERENCE_BYTES = 20 * 1_048_576
"""The documented 20MB, of the decoded file."""

MAX_REFERENCE_PIXELS = 20 * 1_048_576
"""The documented 20MP; a megapixel is 1024 × 1024, as in the providers' "4MP" of 2048 × 2048."""

_MAX_BASE64_CHARACTERS = -(-MAX_REFERENCE_BYTES // 3) * 4
_MAX_URL_CHARACTERS = 8192

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{0,31}):")
_DATA = re.compile(r"data:image/(?:png|jpeg|webp);base64,", re.IGNORECASE | re.ASCII)
_SPLITS_PARSERS = re.compile(r"[\s\x00-\x1f\x7f-\x9f\\]")
"""White space, control characters and the backslash: parsers of URLs disagree about them."""


def read_reference(name: str, value: object, own_links: tuple[str, ...]) -> Reference:
    """Read the reference image in the field `name`.

    A link of this gateway begins with one of `own_links`, up to and including a slash. Raises Violation.
    """
    if isinstance(value, bytes):  # which no JSON gives: a file that came as one
        return reference_of(name, value)
    if not isinstance(value, str) or not value:
        raise _unreadable(name)
    scheme = _SCHEME.match(value)
    if scheme is None:
        return _read_base64(name, value)
    match scheme[1].lower():
        case "http" | "https":
            return _read_url(name, value, own_links)
        case "data" if prefix := _DATA.match(value):
            return _read_base64(name, value[prefix.end() :])
        case _:
            raise _unreadable(name)


def reference_of(name: str, file: bytes) -> ReferenceBytes:
    """Read the file of a reference image for the field `name`. Raises Violation."""
    return _described(name, pybase64.b64encode(file).decode(), file)


def _read_base64(name: str, text: str) -> ReferenceBytes:
    return _described(name, *_decode(name, text))


def _described(name: str, text: str, file: bytes) -> ReferenceBytes:
    if len(file) > MAX_REFERENCE_BYTES:
        raise too_large(name)
    header = read_header(file)
    if header is None:
        raise violation.parameter(name, "Supported formats: jpeg, png, webp")
    if header.width * header.height > MAX_REFERENCE_PIXELS:
        raise too_large(name)
    return ReferenceBytes(
        base64=text,
        sha256=sha256(file).hexdigest(),
        media_type=header.media_type,
        size=len(file),
        width=header.width,
        height=header.height,
    )


def _decode(name: str, text: str) -> tuple[str, bytes]:
    """Return Base64 in its canonical form (RFC 4648, 3.5) and the bytes it stands for, at least one."""
    if not text.isascii():
        raise _unreadable(name)
    file = _strictly(text)
    if file is None:
        # Perhaps it is only wrapped into lines: few are, so the usual text is not searched for white space first.
        text = b"".join(text.encode().split()).decode()
        if len(text) > _MAX_BASE64_CHARACTERS:
            raise too_large(name)
        file = _strictly(text)
    if not file:
        raise _unreadable(name)
    return _canonical(text, file), file


def _strictly(text: str) -> bytes | None:
    """Decode Base64 in the standard alphabet, padded; None if it is not, or is longer than any image may be."""
    if len(text) > _MAX_BASE64_CHARACTERS:
        return None
    try:
        return pybase64.b64decode(text, validate=True)
    except NotBase64:
        return None


def _canonical(text: str, file: bytes) -> str:
    """Clear the unused bits of the last character, which decoders ignore and strict ones refuse."""
    last = pybase64.b64encode(file[-(len(file) % 3 or 3) :]).decode()
    return text if text.endswith(last) else text[: -len(last)] + last


def _read_url(name: str, url: str, own_links: tuple[str, ...]) -> ReferenceLink:
    if len(url) > _MAX_URL_CHARACTERS or _SPLITS_PARSERS.search(url):
        raise _unreadable(name)
    try:
        split = urlsplit(url)
        host = read_host(_bare_host(split))
    except ValueError:
        raise _unreadable(name) from None
    if host is None:
        raise _unreadable(name)
    if url.startswith(own_links):
        return ReferenceLink(url, own=True)
    if not is_reachable(host):
        raise violation.parameter(name, "The URL must be publicly reachable")
    return ReferenceLink(url, own=False)


def _bare_host(split: SplitResult) -> str:
    """Return the host of a URL that has one, no user or password, and a possible port; ValueError if it has not."""
    if "@" in split.netloc or not split.hostname or split.port == 0:
        raise ValueError(split.netloc)
    if "[" in split.netloc and ":" not in split.hostname:  # only an IPv6 address stands in brackets
        raise ValueError(split.netloc)
    return split.hostname


def _unreadable(name: str) -> Violation:
    return violation.parameter(name, "Supported forms: Base64-encoded image, http or https image URL")


def too_large(name: str) -> Violation:
    """Refuse a reference image that is larger than documented."""
    return violation.parameter(name, "Maximum size: 20MB or 20MP")
