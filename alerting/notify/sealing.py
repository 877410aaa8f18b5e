"""Secrets that must be read again, kept under a key of this installation: a copy of the store alone does not tell them."""

import base64
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_NONCE = 12


class SealedError(ValueError):
    """What was sealed cannot be opened: it was sealed under another key, or is damaged."""


class Seal:
    """AES-256-GCM under a key that is derived from the installation's own. `context` binds what is sealed to its row."""

    def __init__(self, installation_key: bytes) -> None:
        key = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"tollwatch secrets of webhooks").derive(installation_key)
        self._cipher = AESGCM(key)

    def close(self, secret: str, *, context: str) -> str:
        """Return the secret sealed."""
        nonce = os.urandom(_NONCE)
        return base64.b64encode(nonce + self._cipher.encrypt(nonce, secret.encode(), context.encode())).decode()

    def open(self, sealed: str, *, context: str) -> str:
        """Return what was sealed. Raises SealedError."""
        try:
            raw = base64.b64decode(sealed, validate=True)
            return self._cipher.decrypt(raw[:_NONCE], raw[_NONCE:], context.encode()).decode()
        except (ValueError, InvalidTag) as error:
            raise SealedError("it was sealed under another key than this installation's") from error
