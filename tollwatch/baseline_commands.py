"""The commands on what is normal, as the control socket takes them."""

from collections.abc import Mapping
from typing import Any

from alerting.approval import Named, approve
from alerting.baselines import Baselines
from alerting.book import AlertBook
from tollwatch.control import Command


def baseline_commands(baselines: Baselines, book: AlertBook) -> Mapping[str, Command]:
    """Return the commands by their names."""

    async def approve_one(given: Mapping[str, Any]) -> Any:  # noqa: ANN401  # any JSON value
        named = Named(digits=given["digits"], service=given["service"], agent=given["agent"], tool=given["tool"])
        return (await approve(baselines, book, named, actor=given["actor"])).as_json()

    return {"baselines.approve": approve_one}
