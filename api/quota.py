"""How many requests a minute one token may send to the organisation's feed."""

from dataclasses import dataclass

from aiohttp import web

from api.errors import ApiError, feed_of
from api.scopes import Principal
from api.times import Clock

WINDOW_SECONDS = 60
MOST_KEYS = 10_000
"""Tokens and addresses counted apart in one minute; those beyond share a count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What is left of a minute's requests after one more."""

    limit: int
    used: int
    resets_at: int
    """In unix seconds."""
    retry_after: int
    """In seconds, at least 1."""

    def headers(self) -> dict[str, str]:
        """Return the headers that tell a client where it stands."""
        left = max(0, self.limit - self.used)
        return {"X-RateLimit-Limit": str(self.limit), "X-RateLimit-Remaining": str(left), "X-RateLimit-Reset": str(self.resets_at)}


STANDING = web.RequestKey("standing", Standing)


class Quota:
    """Counts in minutes of the clock, in memory: a restart begins anew."""

    def __init__(self, *, limit: int, now: Clock, most_keys: int = MOST_KEYS) -> None:
        self._limit = limit
        self._now = now
        self._most_keys = most_keys
        self._window = 0
        self._used: dict[str, int] = {}

    def take(self, key: str) -> Standing:
        """Count one more request of `key`."""
        at = int(self._now().timestamp())
        window = at - at % WINDOW_SECONDS
        if window != self._window:
            self._window = window
            self._used.clear()
        if key not in self._used and len(self._used) >= self._most_keys:
            key = "others"
        self._used[key] = used = self._used.get(key, 0) + 1
        resets_at = window + WINDOW_SECONDS
        return Standing(limit=self._limit, used=used, resets_at=resets_at, retry_after=resets_at - at)

    def check(self, request: web.Request, principal: Principal | None) -> None:
        """Count a request of the organisation's feed once, its token's or else its address's. Raises ApiError 429."""
        if STANDING in request or feed_of(request.path) != "org":
            return
        standing = request[STANDING] = self.take(_key(request, principal))
        if standing.used > standing.limit:
            raise ApiError(
                429,
                f"more than {standing.limit} requests in a minute: wait {standing.retry_after} s, or raise api.requests_per_minute",
                headers={"Retry-After": str(standing.retry_after)},
            )


def _key(request: web.Request, principal: Principal | None) -> str:
    if principal is None:
        return f"address {request.remote}"
    return f"session {principal.session_id}" if principal.session_id else f"token {principal.name}"
