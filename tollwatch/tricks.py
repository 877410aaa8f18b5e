"""The shipped tricks: requests that ask for something forbidden in every way by which a gateway can be made to look elsewhere."""

import base64
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, cast

from alerting.finding import Action
from alerting.rule_settings import Match, RuleSettings

FILE: Final = Path(__file__).parent / "tricks.jsonl"

FORBIDDEN: Final = tuple(
    RuleSettings(id=f"selftest-{what}", title=f"Selftest: a forbidden {what}", match=match, action=Action.BLOCK)
    for what, match in (
        ("model", Match(model="*forbidden-llm*")),
        ("tool", Match(tools="forbidden_tool")),
        ("prompt", Match(text="the forbidden sentence")),
    )
)
"""What the tricks are about: a gateway with these rules must refuse each of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trick:
    """One request. `about` is what is forbidden in it: the model, the prompt, a tool, or that it can be read in two ways."""

    id: str
    kind: str
    about: str
    reason: str
    method: str
    host: str
    path: str
    headers: tuple[tuple[str, str], ...]
    body: bytes = field(repr=False)
    door: str
    connect: str
    """The host of the CONNECT, `sni` that of the TLS handshake, `authority` what the Host header says."""
    sni: str
    authority: str


def tricks() -> Iterator[Trick]:
    """Return every trick, in the order of the file."""
    with FILE.open(encoding="utf-8") as lines:
        for line in lines:
            yield _trick(json.loads(line))


def _trick(row: Mapping[str, Any]) -> Trick:
    names: Mapping[str, str] = row.get("names", {})
    host = row["host"]
    return Trick(
        id=row["id"],
        kind=row["class"],
        about=row["about"],
        reason=row["reason"],
        method=row["method"],
        host=host,
        path=row["path"],
        headers=tuple((name, value) for name, value in row["headers"]),
        body=_body(row["body"]),
        door=row.get("door", "forward"),
        connect=names.get("connect", host),
        sni=names.get("sni", host),
        authority=names.get("host", host),
    )


def _body(written: Any) -> bytes:  # noqa: ANN401  # text, base64, or pieces with how often each stands
    if isinstance(written, str):
        return written.encode()
    if isinstance(written, dict):
        return base64.b64decode(cast("dict[str, str]", written)["base64"])
    return b"".join(piece.encode() * times for piece, times in written)
