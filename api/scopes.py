"""What a token may do."""

from dataclasses import dataclass
from enum import StrEnum


class Scope(StrEnum):
    """One permission. `admin` includes the others."""

    ALERTS_READ = "alerts:read"
    ALERTS_WRITE = "alerts:write"
    CONFIG_WRITE = "config:write"
    ADMIN = "admin"


ALL_SCOPES = frozenset(Scope)


def parse_scopes(names: str) -> frozenset[Scope]:
    """Return the scopes in `alerts:read,alerts:write` (commas or spaces). Raises ValueError with the accepted names."""
    words = names.replace(",", " ").split()
    known = {scope.value for scope in Scope}
    wrong = [f"{word!r} is not a scope" for word in words if word not in known]
    if wrong or not words:
        raise ValueError(f"{wrong[0] if wrong else 'no scope was given'}: use one or more of {', '.join(Scope)}")
    return frozenset(map(Scope, words))


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Who asks, as far as the token tells."""

    name: str
    scopes: frozenset[Scope]
    session_id: str | None = None
    """Set when the token is a session's."""

    def may(self, scope: Scope) -> bool:
        """Whether this principal has a scope."""
        return scope in self.scopes or Scope.ADMIN in self.scopes
