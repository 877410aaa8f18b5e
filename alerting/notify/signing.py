"""Signatures of what is sent: Standard Webhooks (standardwebhooks.com), and a plain HMAC beside them."""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Sequence
from datetime import datetime

PREFIX = "whsec_"
_BYTES = 32
_LEAST_BYTES, _MOST_BYTES = 24, 64


def new_secret() -> str:
    """Return a fresh secret."""
    return PREFIX + base64.b64encode(secrets.token_bytes(_BYTES)).decode()


def key_of(secret: str) -> bytes:
    """Return the key in a secret. Raises ValueError with the accepted form."""
    try:
        if not secret.startswith(PREFIX):
            raise ValueError  # noqa: TRY301 - every fault is told in the one sentence below
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except ValueError:
        key = b""
    if not _LEAST_BYTES <= len(key) <= _MOST_BYTES:
        raise ValueError(
            f"a webhook's secret is {PREFIX!r} and the base64 of {_LEAST_BYTES} to {_MOST_BYTES} bytes; make one by "
            "`echo whsec_$(openssl rand -base64 32)`"
        )
    return key


def signed_headers(*, event_id: str, body: bytes, at: datetime, live_secrets: Sequence[str]) -> dict[str, str]:
    """Return the headers that prove where a message is from. `live_secrets`: the newest first, then one that still counts."""
    timestamp = str(int(at.timestamp()))
    content = f"{event_id}.{timestamp}.".encode() + body
    signatures = (base64.b64encode(hmac.digest(key_of(secret), content, "sha256")).decode() for secret in live_secrets)
    return {
        "webhook-id": event_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
        "X-Toktra-Signature": f"sha256={hmac.new(live_secrets[0].encode(), body, hashlib.sha256).hexdigest()}",
    }
