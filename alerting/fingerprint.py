"""What makes two findings one episode, as a short stable text."""

import hashlib
import json

from alerting.finding import AlertKind


def fingerprint(kind: AlertKind, episode: tuple[str, ...]) -> str:
    """Return 32 hex digits that are equal exactly for the same kind and episode values (API.md, fingerprints)."""
    canonical = json.dumps([kind.value, *episode], ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode("ascii")).hexdigest()[:32]
