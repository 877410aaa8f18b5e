"""The commands on definitions of tools, as the control socket takes them."""

from collections.abc import Mapping
from typing import Any

from alerting.book import AlertBook
from alerting.tool_baselines import ToolBaselines
from alerting.tool_watch import approve_tool
from tollwatch.control import Command


def tool_commands(baselines: ToolBaselines, book: AlertBook) -> Mapping[str, Command]:
    """Return the commands by their names."""

    async def approve(given: Mapping[str, Any]) -> Any:  # noqa: ANN401  # any JSON value
        one = await approve_tool(
            baselines,
            book,
            service=given["service"],
            agent=given.get("agent"),
            tool=given["tool"],
            digits=given["fingerprint"],
            actor=given["actor"],
        )
        return {"service": one.service, "agent": one.agent, "tool": one.tool, "fingerprint": one.fingerprint}

    return {"tools.approve": approve}
