"""Who calls, from what the request carries; unknown is None, never an error."""

import base64
import binascii
import re
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import parse_qsl

from metering.call import Call, Caller
from metering.scope import matches
from metering.settings import ServiceSettings, UserSettings
from proxy.raw import Fields, RawRequest
from proxy.settings import IdentitySource

type KeyHasher = Callable[[bytes], str]

PROXY_AUTHORIZATION = b"proxy-authorization"
_KEY_HEADERS = (b"authorization", b"x-api-key", b"api-key", b"x-goog-api-key")
_SIGNED_BY = re.compile(rb"Credential=([^/,\s]+)/")
_MAX_NAME = 200


class Identity:
    """Reads callers by the `identity`, `users` and `services` sections of the config."""

    def __init__(
        self,
        sources: Sequence[IdentitySource],
        *,
        users: Sequence[UserSettings],
        services: Sequence[ServiceSettings],
        key_hasher: KeyHasher,
    ) -> None:
        self._sources = [(source, source.header.lower().encode() if source.header else b"", source.sets) for source in sources]
        self._departments: dict[str, str | None] = {}
        self.follow(users)
        self._services = services
        self._hash = key_hasher
        self._private = frozenset({PROXY_AUTHORIZATION, *(header for _, header, _ in self._sources if header)})

    def follow(self, users: Sequence[UserSettings]) -> None:
        """Take the departments of these users from now on."""
        self._departments = {user.name: user.department for user in users}

    def caller(self, raw: RawRequest) -> Caller:
        """Return who calls: the first source that knows a field sets it; the department of a known user comes from `users`."""
        key_id = self._key_id(raw)
        certificate = raw.peer.certificate if raw.peer else None
        found: dict[str, str] = {}
        for source, header, field in self._sources:
            if source.client_certificate:
                if certificate:
                    found.setdefault(certificate.field, certificate.name)
            elif value := self._ask(source, header, raw, key_id):
                found.setdefault(field, value)
        user = found.get("user")
        department = found.get("department") or self._departments.get(user or "")
        return Caller(
            user=user,
            department=department,
            service=found.get("service"),
            agent=found.get("agent"),
            key_id=key_id,
            certificate=certificate.serial if certificate else None,
        )

    def service(self, call: Call) -> str | None:
        """Return the configured service that means this call, or None."""
        return next((service.name for service in self._services if matches(service.match, call)), None)

    @property
    def names_services(self) -> bool:
        """Whether `service` can return anything."""
        return bool(self._services)

    def without_private(self, fields: Fields, headers: Mapping[bytes, bytes]) -> Fields:
        """Return the fields without what is for the gateway only."""
        if self._private.isdisjoint(headers):
            return fields
        return tuple(field for field in fields if field[0].lower() not in self._private)

    def _ask(self, source: IdentitySource, header: bytes, raw: RawRequest, key_id: str | None) -> str | None:
        if source.proxy_auth:
            return raw.proxy_user
        if header:
            return _name(raw.headers.get(header, b""))
        if (owner := raw.peer.owner if raw.peer else None) and (source.os_user or source.process):
            return owner.user if source.os_user else owner.process
        return (source.key_fingerprints or {}).get(key_id or "")

    def _key_id(self, raw: RawRequest) -> str | None:
        key = provider_key(raw.headers, raw.path)
        return self._hash(key) if key else None


def provider_key(headers: Mapping[bytes, bytes], path: str) -> bytes | None:
    """Return the provider key of a request, the same however it is sent: bare, as a bearer, in the query, by a signature's key id."""
    for name in _KEY_HEADERS:
        if name in headers and (value := headers[name].strip()):
            scheme, _, rest = value.partition(b" ")
            if signed := _SIGNED_BY.search(rest):
                return signed[1]
            return rest.strip() if rest and scheme.lower() in {b"bearer", b"basic", b"token"} else value
    query = path.partition("?")[2]
    if "key=" in query:
        return next((value.encode("utf-8", "surrogateescape") for name, value in parse_qsl(query) if name == "key"), None)
    return None


def proxy_user(value: bytes) -> str | None:
    """Return the user name of a Basic `Proxy-Authorization`; its password is not looked at: it names, it does not prove."""
    scheme, _, encoded = value.strip().partition(b" ")
    if scheme.lower() != b"basic":
        return None
    try:
        return _name(base64.b64decode(encoded.strip(), validate=True).partition(b":")[0])
    except binascii.Error:
        return None


def _name(value: bytes) -> str | None:
    text = value.decode("utf-8", "replace").strip()
    return text if text and text.isprintable() and len(text) <= _MAX_NAME else None
