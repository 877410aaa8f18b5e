"""Random bearer secrets, of which the store keeps only the SHA-256.

A secret of 256 random bits needs no slow hash: nobody guesses it, and the hash in a stolen store opens nothing.
"""

import hashlib
import hmac
import secrets

SESSION_PREFIX = "fn_sess_"
TOKEN_PREFIX = "tw_"  # noqa: S105 - the public beginning of every token
GRANT_PREFIX = "tw_access_"


class ExpiredTokenError(Exception):
    """A token that was good, and is past its end."""


def new_secret(prefix: str) -> str:
    """Return a new secret: the prefix and 64 hex digits."""
    return prefix + secrets.token_hex(32)


def digest(secret: str) -> str:
    """Return the SHA-256 of a secret as hex digits. Any string is accepted, whatever a header could carry."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def same(one: str, other: str) -> bool:
    """Whether two strings are equal, in time that does not depend on where they differ."""
    return hmac.compare_digest(digest(one).encode(), digest(other).encode())
