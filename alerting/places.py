"""Places in the traffic: who called which kind of endpoint of which service (API.md, regions of interest)."""

import re
from dataclasses import dataclass
from hashlib import sha256

from alerting.subjects import shown
from metering.call import Endpoint

NOBODY = "-"
_CLASSES = frozenset(Endpoint)
_ESCAPES = str.maketrans({"%": "%25", "/": "%2F"})
_PLAIN = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
_NOT_IN_SLUGS = re.compile(r"[^a-z0-9]+")
_DIGEST = 8
_TITLES = {Endpoint.OTHER: "other endpoints"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One place. `name` is `<service>/<agent or user or ->/<endpoint class>`, with `/` and `%` in a part written as `%2F` and `%25`."""

    name: str
    title: str
    api_name: str


def place_name(*, service: str | None, agent: str | None, user: str | None, endpoint: str | None) -> str:
    """Return the name of the place of a call, as far as it is known."""
    kind = endpoint if endpoint in _CLASSES else Endpoint.OTHER.value
    return f"{_part(service)}/{_part(agent or user)}/{kind}"


def place(name: str) -> Place:
    """Return the place of a name, or of a glob over names, with what people and programs call it."""
    return Place(name=name, title=_title(name), api_name=_slug(name))


def _part(value: str | None) -> str:
    return (shown(value) or "").translate(_ESCAPES) if value else NOBODY


def _title(name: str) -> str:
    """Return `support-bot: chat of openai`, or the name itself where it is no name of a place."""
    parts = [part.replace("%2F", "/").replace("%25", "%") for part in name.split("/")]
    if len(parts) != 3:
        return name
    if parts == [NOBODY, NOBODY, Endpoint.OTHER]:
        return "anywhere"
    service, who, kind = parts
    what = _TITLES.get(Endpoint(kind), kind) if kind in _CLASSES else kind
    where = what if service == NOBODY else f"{what} of {service}"
    return where if who == NOBODY else f"{who}: {where}"


def _slug(name: str) -> str:
    """Return a name in letters, digits, `-` and `_`; where that loses something, a digest keeps two places apart."""
    parts = ["" if part == NOBODY else part for part in name.split("/")]
    if all(not part or _PLAIN.fullmatch(part) for part in parts):
        return "_".join(parts)
    plain = "_".join(_NOT_IN_SLUGS.sub("-", part.lower()).strip("-") for part in parts)
    return f"{plain}-{sha256(name.encode()).hexdigest()[:_DIGEST]}"
