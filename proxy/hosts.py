"""Names of hosts, in the one form in which they are compared."""

import unicodedata
from functools import lru_cache


@lru_cache(maxsize=1024)
def same_host(name: str) -> str:
    """Return a host name in the form in which two of them are compared; a resolver takes fullwidth letters for plain ones."""
    if not name.isascii():
        name = unicodedata.normalize("NFKC", name).replace("\u3002", ".")
    return name.lower().rstrip(".")
