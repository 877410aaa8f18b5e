"""Receivers can prove with the published library, and by a plain HMAC, that a message is from this gateway."""

import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from alerting.notify.sealing import Seal, SealedError
from alerting.notify.signing import key_of, new_secret, signed_headers

BODY = json.dumps({"id": "evt_1", "type": "alert.created", "data": {"title": "Grüße"}}, ensure_ascii=False).encode()


def test_the_published_library_verifies_what_is_signed() -> None:
    secret = new_secret()

    headers = signed_headers(event_id="evt_1", body=BODY, at=datetime.now(UTC), live_secrets=(secret,))

    assert Webhook(secret).verify(BODY, headers) == json.loads(BODY)
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(BODY + b" ", headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(new_secret()).verify(BODY, headers)


def test_a_message_of_long_ago_does_not_verify() -> None:
    secret = new_secret()

    headers = signed_headers(event_id="evt_1", body=BODY, at=datetime.now(UTC) - timedelta(minutes=6), live_secrets=(secret,))

    with pytest.raises(WebhookVerificationError, match="too old"):
        Webhook(secret).verify(BODY, headers)


def test_while_a_secret_is_rotated_receivers_with_either_verify() -> None:
    old, new = new_secret(), new_secret()

    headers = signed_headers(event_id="evt_1", body=BODY, at=datetime.now(UTC), live_secrets=(new, old))

    for secret in (old, new):
        assert Webhook(secret).verify(BODY, headers)
    assert headers["webhook-signature"].count("v1,") == 2


def test_the_plain_signature_is_of_the_body_under_the_secret_as_it_stands() -> None:
    secret = new_secret()

    headers = signed_headers(event_id="evt_1", body=BODY, at=datetime.now(UTC), live_secrets=(secret,))

    assert headers["X-Toktra-Signature"] == "sha256=" + hmac.new(secret.encode(), BODY, hashlib.sha256).hexdigest()


def test_each_secret_is_fresh_and_of_32_bytes() -> None:
    assert len({new_secret() for _ in range(100)}) == 100
    assert len(key_of(new_secret())) == 32


@pytest.mark.parametrize(
    "secret", ["", "whsec_", "whsec_c2hvcnQ=", "dG9sbHdhdGNoLWV4YW1wbGUtc2VjcmV0LWNoYW5nZS1pdCE=", "whsec_***", "whsec_" + "A" * 200]
)
def test_what_is_no_secret_is_refused_with_the_way_to_make_one(secret: str) -> None:
    with pytest.raises(ValueError, match="openssl rand -base64 32"):
        key_of(secret)


def test_a_sealed_secret_opens_under_its_key_and_in_its_row_alone() -> None:
    seal, secret = Seal(b"k" * 32), new_secret()

    sealed = seal.close(secret, context="hook-1")

    assert seal.open(sealed, context="hook-1") == secret
    assert secret not in sealed
    for other, context, text in ((seal, "hook-2", sealed), (Seal(b"x" * 32), "hook-1", sealed), (seal, "hook-1", "no base64!")):
        with pytest.raises(SealedError):
            other.open(text, context=context)
