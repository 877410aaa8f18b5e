"""Cursors: where a page ended, as text that a client hands back, good for the same question alone."""

import base64
import binascii
import hashlib

import orjson

from api.errors import InvalidError

LONGEST_CURSOR = 400


def filters_hash(*parts: object) -> str:
    """Return what tells one question from another."""
    return hashlib.sha256(repr([str(part) for part in parts]).encode()).hexdigest()[:16]


def cursor_after(last: str, *, filters: str) -> str:
    """Return the cursor after the item `last`: base64url of JSON, without padding."""
    return base64.urlsafe_b64encode(orjson.dumps({"id": last, "filters": filters})).rstrip(b"=").decode()


def read_cursor(cursor: str, *, filters: str) -> str:
    """Return the id of the item that a page begins after. Raises InvalidError: it is none of ours, or of another question."""
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        value: object = orjson.loads(raw)
    except (binascii.Error, orjson.JSONDecodeError, ValueError):
        value = None
    match value:
        case {"id": str(last), "filters": str(asked)}:
            if asked != filters:
                raise InvalidError("invalid cursor: it is of a list with other filters; begin anew without a cursor", param="cursor")
            return last
        case _:
            raise InvalidError("invalid cursor: use next_cursor of an earlier answer as it stands", param="cursor")
