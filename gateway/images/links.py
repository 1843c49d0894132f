"""Links: URLs of kept images, signed with an expiry. Whoever holds a link may see the image until then; nothing is
looked up to check one, so links work in every process that knows the secret.
"""

import hmac
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias
from urllib.parse import parse_qsl

from gateway.clock import Millis
from gateway.images.store import parse_name

_PURPOSE: Final = b"image-link"  # keeps the keys made here apart from other uses of the same secret
_HOUR: Final = 3600
_EXPIRY_DIGITS_MAX: Final = 12
_NEVER: Final = "never"
_LONGEST_CACHING: Final = 365 * 24 * 3600

LinkTtl: TypeAlias = int | Literal["none"] | None
"""Seconds that a link works; `none` is without end, None the gateway's own default."""


class LinkInvalid(Exception):
    """The link was altered, has expired, or was not made here."""


@dataclass(frozen=True, slots=True)
class LinkKeys:
    """The signing keys of a sequence of secrets, the newest first; the newest signs, all are accepted."""

    _keys: tuple[hmac.HMAC, ...] = field(repr=False)  # copied: less work than a digest of a key

    @classmethod
    def derive(cls, secrets: Sequence[bytes]) -> "LinkKeys":
        """Derive one key from each secret. Raises ValueError without a secret, or for an empty one."""
        if not secrets or not all(secrets):
            raise ValueError("links need a secret, and none may be empty")
        derived = (hmac.digest(secret, _PURPOSE, "sha256") for secret in secrets)
        return cls(tuple(hmac.new(key, digestmod="sha256") for key in derived))

    def sign(self, name: str, expiry: str) -> str:
        """Sign a name and its expiry: 43 characters of base64url."""
        return _signature(self._keys[0], name, expiry)

    def signed(self, name: str, expiry: str, signature: str) -> bool:
        """Tell whether any of the keys made this signature; compares in constant time."""
        offered = signature.encode(errors="replace")
        return any(hmac.compare_digest(_signature(key, name, expiry).encode(), offered) for key in self._keys)


class Links:
    """Makes and checks `{public_url}/images/{name}?e={expiry}&s={signature}`, whose expiry is `never`, or seconds
    since 1970."""

    def __init__(self, public_url: str, secrets: Sequence[bytes], default_ttl: int) -> None:
        """Take the URL by which browsers reach the gateway, the secrets (newest first), and a lifetime in seconds."""
        self.prefix: Final = f"{public_url.rstrip('/')}/images/"
        """What every link made here begins with."""
        self.default_ttl: Final = default_ttl
        self._keys = LinkKeys.derive(secrets)

    def make(self, name: str, now: Millis, ttl: LinkTtl = None) -> str:
        """Make a link that works for at least `ttl`.

        The expiry is rounded up to the hour, so that replies within an hour carry the same URL and browsers can cache.
        """
        expiry = _NEVER
        if ttl != "none":
            seconds = self.default_ttl if ttl is None else ttl
            expiry = str(-(-(now + seconds * 1000) // (_HOUR * 1000)) * _HOUR)
        return f"{self.prefix}{name}?e={expiry}&s={self._keys.sign(name, expiry)}"

    def check(self, name: str, expiry: str | None, signature: str | None, now: Millis) -> int:
        """Return for how many seconds the query `e` and `s` of a request permit this name, a year at most.

        Raises LinkInvalid if they do not.
        """
        if expiry is None or signature is None or not (expiry == _NEVER or _is_number(expiry)):
            raise LinkInvalid("the link is incomplete")
        # The signature first: an expiry that nobody signed says nothing.
        if not self._keys.signed(name, expiry, signature):
            raise LinkInvalid("the link is not signed by this gateway")
        if expiry == _NEVER:
            return _LONGEST_CACHING
        if int(expiry) * 1000 <= now:
            raise LinkInvalid("the link has expired")
        return min(int(expiry) - now // 1000, _LONGEST_CACHING)

    def name_in(self, url: str, now: Millis) -> str | None:
        """Return the image's name in a working link made here; None for any other URL."""
        if not url.startswith(self.prefix):
            return None
        name, _, query = url.removeprefix(self.prefix).partition("?")
        parameters = dict(parse_qsl(query.partition("#")[0]))
        try:
            self.check(name, parameters.get("e"), parameters.get("s"), now)
        except LinkInvalid:
            return None
        return name if parse_name(name) is not None else None


def _signature(key: hmac.HMAC, name: str, expiry: str) -> str:
    # The expiry is one word, so it is what stands behind the last line break, whatever the name holds.
    signature = key.copy()
    signature.update(f"{name}\n{expiry}".encode(errors="replace"))
    return urlsafe_b64encode(signature.digest()).rstrip(b"=").decode()


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= _EXPIRY_DIGITS_MAX
