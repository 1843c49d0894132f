"""What upstream writes, made fit to be shown: no key, no bearer string, no URL, no control character, 300 at most."""

import re
import unicodedata
from collections.abc import Sequence

TEXT_MAX = 300
"""The most characters of upstream's message that are shown or logged."""

REMOVED = "[removed]"

_READ_MAX = 8192
_BEARER = re.compile(r"\bbearer\s+[^\s\"',;]+", re.IGNORECASE | re.ASCII)
_URL = re.compile(r"(?<![a-z0-9])(?:[a-z][a-z0-9+.-]{1,15}://|www\.)[!#-&(-;=?-~]+", re.IGNORECASE | re.ASCII)
_KEY = re.compile(
    r"(?<![a-z0-9])(?:sk|pk|ak|igw_sk|igw_ct)[-_][a-z0-9_*.-]{6,}"  # by its prefix, also when masked in part
    r"|(?<![a-z0-9_])(?=[a-z_]*[0-9])[a-z0-9_]{28,}",  # by its length: no word, no parameter's name
    re.IGNORECASE | re.ASCII,
)


def scrub(text: str, secrets: Sequence[str]) -> str:
    """Return `text` on one line, without secrets, URLs and invisible characters, cut to TEXT_MAX characters."""
    # Before the first cut, so that a secret across the cut is gone; again after invisible characters that split one.
    text = without(text, secrets)[:_READ_MAX]
    text = "".join([_visible(character) for character in text])
    text = without(text, secrets)
    for pattern in (_BEARER, _URL, _KEY):
        text = pattern.sub(REMOVED, text)
    return " ".join(text.split())[:TEXT_MAX].rstrip()


def without(text: str, secrets: Sequence[str]) -> str:
    """Return `text` with every whole secret replaced."""
    for secret in secrets:
        if secret in text:
            text = text.replace(secret, REMOVED)
    return text


def _visible(character: str) -> str:
    if " " <= character <= "~":
        return character
    match unicodedata.category(character):
        case "Cc" | "Zl" | "Zp" | "Zs":
            return " "
        case "Cf" | "Cs" | "Co" | "Cn":
            return ""
        case _:
            return character
