"""The commands that change stored rules, as the control socket takes them."""

from collections.abc import Mapping
from typing import Any

from alerting.rulebook import KeptRule, RuleBook, rule_of
from tollwatch.control import Command


def rule_commands(book: RuleBook) -> Mapping[str, Command]:
    """Return the commands by their names."""

    async def add(given: Mapping[str, Any]) -> Any:  # noqa: ANN401  # any JSON value
        settings, actor = rule_of(given["rule"]), given["actor"]
        known = book.get(settings.id)
        if given.get("replace") and known is not None:
            return as_json(await book.change(settings, actor=actor))
        return as_json(await book.add(settings, actor=actor))

    async def remove(given: Mapping[str, Any]) -> Any:  # noqa: ANN401  # the same
        await book.remove(given["id"], actor=given["actor"])
        return {"removed": given["id"]}

    async def enable(given: Mapping[str, Any]) -> Any:  # noqa: ANN401  # the same
        return as_json(await book.enable(given["id"], enabled=bool(given["enabled"]), actor=given["actor"]))

    return {"rules.add": add, "rules.remove": remove, "rules.enable": enable}


def as_json(kept: KeptRule) -> dict[str, object]:
    """Return a rule as a JSON object, moments in RFC 3339."""
    return {
        **kept.settings.model_dump(mode="json", by_alias=True, exclude_none=True),
        "origin": kept.origin,
        "in_force": kept.in_force,
        "created_at": kept.created_at and kept.created_at.isoformat(),
        "created_by": kept.created_by,
        "updated_at": kept.updated_at and kept.updated_at.isoformat(),
        "updated_by": kept.updated_by,
    }
