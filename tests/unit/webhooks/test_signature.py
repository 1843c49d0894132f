"""Signatures are those of Standard Webhooks: the public package verifies them, and nothing that was altered."""

import base64
import time

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from gateway.webhooks.endpoints import OVERLAP_MS, signing
from gateway.webhooks.signature import PREFIX, Signer

SIGNER = Signer([b"one secret of the gateway's, long enough"])
OLD = Signer([b"the secret that it had in former days"])
BODY = '{"type":"generation.settled","data":{"title":"一座灯塔"}}'


def headers(signer: Signer = SIGNER, *versions: int, at: int = 0) -> dict[str, str]:
    """Sign BODY for tenant `ten_1`, so many seconds from now."""
    timestamp = int(time.time()) + at
    signature = signer.sign("ten_1", versions or (1,), event="evt_1", timestamp=timestamp, body=BODY.encode())
    return {"webhook-id": "evt_1", "webhook-timestamp": str(timestamp), "webhook-signature": signature}


def verified(secret: str, sent: dict[str, str], body: str = BODY) -> bool:
    """Ask the public package."""
    try:
        Webhook(secret).verify(body, sent)
    except WebhookVerificationError:
        return False
    return True


def test_the_public_package_verifies() -> None:
    """With the right secret, and with no other tenant's, version's or gateway's."""
    assert verified(SIGNER.secret("ten_1", 1), headers())
    assert not verified(SIGNER.secret("ten_2", 1), headers())
    assert not verified(SIGNER.secret("ten_1", 2), headers())
    assert not verified(OLD.secret("ten_1", 1), headers())


@pytest.mark.parametrize("header", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_what_was_altered_fails(header: str) -> None:
    """An altered body, id or time, and one that is too old or too new, is refused."""
    secret, sent = SIGNER.secret("ten_1", 1), headers()
    altered = {"webhook-id": "evt_2", "webhook-timestamp": str(int(sent["webhook-timestamp"]) - 1)}
    altered["webhook-signature"] = headers(OLD)["webhook-signature"]
    assert not verified(secret, sent | {header: altered[header]})
    assert not verified(secret, sent, BODY.replace("settled", "unknown"))
    assert not verified(secret, headers(at=-400))
    assert not verified(secret, headers(at=400))


def test_a_secret_is_24_to_64_bytes_and_nobody_elses() -> None:
    """As the specification asks; the same for the same endpoint, without being stored."""
    secret = SIGNER.secret("ten_1", 1)
    assert secret.startswith(PREFIX)
    assert len(base64.b64decode(secret.removeprefix(PREFIX), validate=True)) == 32
    assert secret == Signer([b"one secret of the gateway's, long enough"]).secret("ten_1", 1)
    # A tenant's id and a version cannot run into each other.
    assert SIGNER.secret("ten_1", 12) != SIGNER.secret("ten_11", 2)


def test_both_secrets_sign_while_they_are_rotated() -> None:
    """The former secret of an endpoint for a day, and the former secret of the gateway while it is listed."""
    moment = 1_795_305_600_000
    assert signing(1, None, moment) == (1,)
    assert signing(2, moment, moment + OVERLAP_MS - 1) == (2, 1)
    assert signing(2, moment, moment + OVERLAP_MS) == (2,)
    both = headers(SIGNER, 2, 1)
    assert verified(SIGNER.secret("ten_1", 1), both)
    assert verified(SIGNER.secret("ten_1", 2), both)
    rotating = Signer([b"the newest secret of them all, random", b"the secret that it had in former days"])
    assert verified(OLD.secret("ten_1", 1), headers(rotating, 1))
    assert verified(rotating.secret("ten_1", 1), headers(rotating, 1))


@pytest.mark.parametrize("secrets", [[], [b""], [b"good enough", b""]])
def test_an_empty_secret_signs_nothing(secrets: list[bytes]) -> None:
    """HMAC with an empty key is anybody's to compute."""
    with pytest.raises(ValueError, match="secret"):
        Signer(secrets)
