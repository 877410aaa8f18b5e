"""The commands that change stored rules, as the control socket takes them."""

from collections.abc import Mapping
from typing import Any

from alerting.rulebook import RuleBook, rule_of
from tollwatch.control import Command


def rule_commands(book: RuleBook) -> Mapping[str, Command]:
    """Return the commands by their names."""

    async def add(given: Mapping[str, Any]) -> Any:  # noqa: ANN401  # any JSON value
        settings, actor = rule_of(given["rule"]), given["actor"]
        known = book.get(settings.id)
        if given.get("replace") and known is not None:
            return (await book.change(settings, actor=actor)).as_json()
        return (await book.add(settings, actor=actor)).as_json()

    async def remove(given: Mapping[str, Any]) -> Any:  # noqa: ANN401  # the same
        await book.remove(given["id"], actor=given["actor"])
        return {"removed": given["id"]}

    async def enable(given: Mapping[str, Any]) -> Any:  # noqa: ANN401  # the same
        return (await book.enable(given["id"], enabled=bool(given["enabled"]), actor=given["actor"])).as_json()

    return {"rules.add": add, "rules.remove": remove, "rules.enable": enable}
