"""Signatures of what is sent: Standard Webhooks (standardwebhooks.com), and a plain HMAC beside them."""

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

PREFIX = "whsec_"
_BYTES = 32
_LEAST_BYTES, _MOST_BYTES = 24, 64
_ID = re.compile(r"[\x21-\x7e]{1,200}")
_SECONDS = re.compile(r"[0-9]{1,12}")
_MOST_SIGNATURES = 10
TOLERANCE = timedelta(minutes=5)
"""How far the timestamp of a message may be from now."""


class BadSignatureError(ValueError):
    """A message does not prove where it is from; the sentence tells what is wrong without telling what would be right."""


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


def verified(headers: Mapping[str, str], body: bytes, *, secret: str | None, at: datetime) -> None:
    """Pass a message that was signed with a secret lately; without one none passes. Raises BadSignatureError.

    Several signatures may stand in the header, parted by blanks: one that is good is enough (the sender rotates its secret).
    """
    message_id, timestamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    given = headers.get("webhook-signature", "").split(" ")
    if not (_ID.fullmatch(message_id) and _SECONDS.fullmatch(timestamp) and given[0]):
        raise BadSignatureError("sign the message after Standard Webhooks: webhook-id, webhook-timestamp and webhook-signature are needed")
    if abs(at.timestamp() - int(timestamp)) > TOLERANCE.total_seconds():
        raise BadSignatureError("webhook-timestamp is more than five minutes off: is the sender's clock right?")
    key = key_of(secret if secret is not None else new_secret())  # an unknown hook takes as long as a known one
    expected = hmac.digest(key, f"{message_id}.{timestamp}.".encode() + body, "sha256")
    if not any(_is_good(one, expected) for one in given[:_MOST_SIGNATURES]):
        raise BadSignatureError("the signature is not good: is the secret that of this hook?")


def _is_good(signature: str, expected: bytes) -> bool:
    version, _, text = signature.partition(",")
    try:
        return version == "v1" and hmac.compare_digest(base64.b64decode(text, validate=True), expected)
    except ValueError:
        return False
