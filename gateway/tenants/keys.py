"""A key: `igw_sk_`, 43 base62 characters (256 bits), 6 of CRC-32. Shown once, stored as a keyed digest.

A client token is made alike, with `igw_ct_`.

The shape is GitHub's: one word for a double click, and a check sum by which scanners tell a real key from a look-alike
and the gateway refuses a damaged one without a look-up.
https://github.blog/2021-04-05-behind-githubs-new-authentication-token-formats/
"""

import hmac
import re
import secrets
import zlib
from collections.abc import Sequence

SERVER_PREFIX = "igw_sk_"
CLIENT_PREFIX = "igw_ct_"

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_SECRET_LENGTH = 43
_CHECK_LENGTH = 6
_KEY = re.compile(rf"(?:{SERVER_PREFIX}|{CLIENT_PREFIX})[0-9A-Za-z]{{{_SECRET_LENGTH + _CHECK_LENGTH}}}", re.ASCII)


def make_key() -> str:
    """Make a server key."""
    return _make(SERVER_PREFIX)


def make_token() -> str:
    """Make a client token."""
    return _make(CLIENT_PREFIX)


def is_token(key: str) -> bool:
    """Say whether this is a client token and no server key, if it is either."""
    return key.startswith(CLIENT_PREFIX)


def well_formed(key: str) -> bool:
    """Say whether this could be a key: right shape, right check sum."""
    return _KEY.fullmatch(key) is not None and _check(key[:-_CHECK_LENGTH]) == key[-_CHECK_LENGTH:]


class Pepper:
    """Makes the digests that keys are stored and found by: HMAC-SHA-256 with the gateway's secrets, newest first."""

    def __init__(self, gateway_secrets: Sequence[bytes]) -> None:
        if not gateway_secrets or not all(gateway_secrets):
            raise ValueError("keys need a secret, and none may be empty")
        derived = (hmac.digest(secret, b"key-digest", "sha256") for secret in gateway_secrets)
        # Each digest begins with a copy of one of these, which is less work than to begin with the pepper itself.
        self._peppers = [hmac.new(pepper, digestmod="sha256") for pepper in derived]

    def digest(self, key: str) -> str:
        """Return the digest that a new key is stored by."""
        return _digest(self._peppers[0], key)

    def digests(self, key: str) -> list[str]:
        """Return every digest that a key may be stored by while secrets are being rotated."""
        return [_digest(pepper, key) for pepper in self._peppers]


def _digest(pepper: hmac.HMAC, key: str) -> str:
    digest = pepper.copy()
    digest.update(key.encode())
    return digest.hexdigest()


def _make(prefix: str) -> str:
    body = prefix + "".join(secrets.choice(_ALPHABET) for _ in range(_SECRET_LENGTH))
    return body + _check(body)


def _check(body: str) -> str:
    number = zlib.crc32(body.encode())
    digits = []
    for _ in range(_CHECK_LENGTH):
        number, digit = divmod(number, len(_ALPHABET))
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))
