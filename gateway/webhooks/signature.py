"""Signatures by Standard Webhooks, v1: HMAC-SHA-256 over `id.timestamp.body`.

A secret is derived from the gateway's own, the tenant and a number: nothing that could sign is stored. Rotating
GATEWAY_SECRET therefore changes them all; while the old one is still listed, both sign.
https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import hmac
from collections.abc import Iterable, Sequence

import pybase64

PREFIX = "whsec_"


class Signer:
    """Derives the secrets of endpoints, and signs with them."""

    def __init__(self, gateway_secrets: Sequence[bytes]) -> None:
        """Take the gateway's secrets, newest first. Raises ValueError if there is none, or an empty one."""
        if not gateway_secrets or not all(gateway_secrets):
            raise ValueError("webhooks need a secret, and none may be empty")
        self._roots = [hmac.digest(secret, b"webhook-secret", "sha256") for secret in gateway_secrets]

    def secret(self, tenant_id: str, version: int) -> str:
        """Return the text of a secret: 32 bytes, as receivers' libraries read it."""
        return PREFIX + pybase64.b64encode(self._derived(self._roots[0], tenant_id, version)).decode()

    def sign(self, tenant_id: str, versions: Iterable[int], *, event: str, timestamp: int, body: bytes) -> str:
        """Return the `webhook-signature` of one try: one for every secret that receivers may know."""
        signed = f"{event}.{timestamp}.".encode() + body
        keys = (self._derived(root, tenant_id, version) for version in versions for root in self._roots)
        return " ".join(f"v1,{pybase64.b64encode(hmac.digest(key, signed, 'sha256')).decode()}" for key in keys)

    @staticmethod
    def _derived(root: bytes, tenant_id: str, version: int) -> bytes:
        return hmac.digest(root, f"{tenant_id}\n{version}".encode(), "sha256")
