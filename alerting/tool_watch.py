"""Holding the tools of each call against what is normal for its service and agent."""

from functools import partial

from alerting.baselines import Baselines, Part, place_of
from alerting.detectors.tool_drift import ToolDrift
from alerting.finding import Refusal
from alerting.settings import ToolDriftSettings
from alerting.trial import Trial


class ToolWatch:
    """Finds definitions of tools that changed."""

    def __init__(self, settings: ToolDriftSettings, baselines: Baselines, *, key: bytes) -> None:
        self._detector = ToolDrift(settings, key=key)
        self._baselines = baselines
        self._approve_first = settings.approve == "first"

    async def check(self, trial: Trial) -> None:
        """Judge the tools of a call. Definitions that were never seen are durable when this returns. Raises StoreError."""
        call = trial.call
        if not call.prompt.tools or self._detector.is_quiet(call):
            return
        seen = self._detector.fingerprints(call)
        place, shape = place_of(Part.TOOL, call.service, call.caller.agent), partial(self._detector.shape, call)
        normal = await self._baselines.normal(place, seen, approve_first=self._approve_first, shape=shape)
        found = list(self._detector.check(call, seen, normal))
        if not found:
            self._detector.remember(call)
        trial.hear_all(found, Refusal.PROMPT_DRIFT)
