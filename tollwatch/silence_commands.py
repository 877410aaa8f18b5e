"""The commands on silences, as the control socket takes them."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from alerting.matchers import parse_matcher
from alerting.silence import Silence, SilenceDraft
from alerting.silences import SilenceBook, UnknownSilenceError
from alerting.toggles import DefinedInConfigError
from tollwatch.control import Command


def silence_commands(silences: SilenceBook) -> Mapping[str, Command]:
    """Return the commands by their names."""

    async def add(given: Mapping[str, Any]) -> Any:  # noqa: ANN401  # any JSON value
        draft = SilenceDraft(
            matchers=tuple(map(parse_matcher, given["matchers"])),
            starts_at=datetime.fromisoformat(given["starts_at"]),
            ends_at=datetime.fromisoformat(given["ends_at"]),
            created_by=given.get("created_by") or given["actor"].removeprefix("cli:"),
            comment=given["comment"],
        )
        return silence_json(await silences.add(draft, actor=given["actor"]))

    async def expire(given: Mapping[str, Any]) -> Any:  # noqa: ANN401  # any JSON value
        try:
            return silence_json(await silences.expire(given["id"], actor=given["actor"]))
        except (UnknownSilenceError, DefinedInConfigError) as error:
            raise ValueError(str(error)) from error

    return {"silences.add": add, "silences.expire": expire}


def silence_json(silence: Silence) -> dict[str, object]:
    """Return a silence as a JSON object, moments in RFC 3339."""
    return {
        "id": silence.id,
        "matchers": [str(matcher) for matcher in silence.matchers],
        "starts_at": silence.starts_at.isoformat(),
        "ends_at": silence.ends_at.isoformat() if silence.ends_at else None,
        "created_by": silence.created_by,
        "comment": silence.comment,
        "updated_at": silence.updated_at.isoformat(),
        "in_config": silence.in_config,
    }
