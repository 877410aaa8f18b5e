"""Holding the tools of each call against what is normal for its service and agent."""

from alerting.book import AlertBook
from alerting.detectors.tool_drift import ToolDrift, tool_episode
from alerting.finding import AlertKind, Refusal
from alerting.fingerprint import fingerprint
from alerting.settings import ToolDriftSettings
from alerting.tool_baselines import ToolBaseline, ToolBaselines
from alerting.trial import Trial


class ToolWatch:
    """Finds definitions of tools that changed, and takes a person's word that a change is meant."""

    def __init__(self, settings: ToolDriftSettings, baselines: ToolBaselines, *, key: bytes) -> None:
        self._detector = ToolDrift(settings, key=key)
        self._baselines = baselines
        self._approve_first = settings.approve == "first"

    async def check(self, trial: Trial) -> None:
        """Judge the tools of a call. Definitions that were never seen are durable when this returns. Raises StoreError."""
        call = trial.call
        if not call.prompt.tools or self._detector.is_quiet(call):
            return
        seen = self._detector.fingerprints(call)
        normal = await self._baselines.normal(call.service, call.caller.agent, seen, approve_first=self._approve_first)
        found = list(self._detector.check(call, seen, normal))
        if not found:
            self._detector.remember(call)
        trial.hear_all(found, Refusal.PROMPT_DRIFT)


async def approve_tool(  # noqa: PLR0913  # what names a definition, and who speaks
    baselines: ToolBaselines, book: AlertBook, *, service: str, agent: str | None, tool: str, digits: str, actor: str
) -> ToolBaseline:
    """Make the definition of a tool normal; its drift alert ends. Raises ValueError when the digits name none, or several."""
    one = await baselines.approve(service, agent, tool, digits, actor=actor)
    await book.clear(fingerprint(AlertKind.PROMPT_DRIFT, tool_episode(service, agent, tool, one.fingerprint)))
    return one
