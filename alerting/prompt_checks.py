"""What each call is looked at for beside the rules: its format, the size and the drift of its prompt, the rates of its caller."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from alerting.baselines import PROMPT, Baselines, Part, place_of
from alerting.detectors import meter_gap
from alerting.detectors.prompt_drift import PromptDrift
from alerting.detectors.prompt_size import PromptSize
from alerting.detectors.rate_limit import RateLimits
from alerting.finding import Action, Refusal
from alerting.reserving import Check
from alerting.settings import DetectorSettings
from alerting.trial import Trial
from metering.call import Consumption


@dataclass(frozen=True, slots=True)
class Detectors:
    """The detectors that look at a prompt; None where one is switched off."""

    size: PromptSize | None = None
    drift: PromptDrift | None = None

    @classmethod
    def of(cls, settings: DetectorSettings, *, key: bytes) -> "Detectors":
        """Return the detectors of the config; `key` is the installation's own, for the fingerprints of prompts."""
        drift = settings.prompt_drift
        return cls(PromptSize(settings.prompt_size), PromptDrift(drift, key=key) if drift.enabled else None)


class PromptChecks:
    """The checks that the config asks for; each hears what is against a trial."""

    def __init__(
        self,
        detectors: Detectors,
        *,
        rates: RateLimits,
        baselines: Baselines,
        unknown_formats: Literal["pass", "refuse"],
        enforces: bool,
        now: Callable[[], datetime],
    ) -> None:
        self._detectors = detectors
        self._rates = rates
        self._baselines = baselines
        self._unknown_formats = unknown_formats
        self._enforces = enforces
        self._now = now

    def before(self, without_store: Callable[[Check], Check]) -> Iterator[Check]:
        """Yield the checks of the prompt itself, in order."""
        if self._unknown_formats == "refuse":
            yield self._format
        if self._detectors.size is not None:
            yield self.size
        if self._detectors.drift is not None:
            yield without_store(self._drift)

    def after(self) -> Iterator[Check]:
        """Yield what comes last, since a call that is refused before does not count."""
        if self._rates:
            yield self._rate

    async def _format(self, trial: Trial) -> None:
        call = trial.call
        if call.consumption is Consumption.UNREAD:
            trial.hear(meter_gap.unread(call, action=Action.BLOCK, at=self._now()), Refusal.UNKNOWN_FORMAT)

    async def size(self, trial: Trial) -> None:
        """Hear what is against the length of a prompt."""
        detector = self._detectors.size
        if detector is None:
            return
        if detector.exact_matters(bound=trial.size.best):
            await trial.size.count()
        if finding := detector.check(trial.call, tokens=trial.size.best):
            trial.hear(finding, Refusal.PROMPT_SIZE)

    async def _drift(self, trial: Trial) -> None:
        detector, call = self._detectors.drift, trial.call
        if detector is None or (seen := detector.fingerprint(call)) is None:
            return
        place = place_of(Part.PROMPT, call.service, call.caller.agent)
        normal = self._baselines.known(place, PROMPT, seen)
        if normal is None:
            first = detector.approve_first
            learned = await self._baselines.normal(place, {PROMPT: seen}, approve_first=first, shape=lambda _name: detector.shape(call))
            normal = learned[PROMPT]
        if finding := detector.check(call, seen, normal):
            trial.hear(finding, Refusal.PROMPT_DRIFT)

    async def _rate(self, trial: Trial) -> None:
        if self._rates.exact_matters(trial.call, bound=trial.size.best):
            await trial.size.count()
        if found := self._rates.take(trial.call, input_tokens=trial.size.best, enforce=self._enforces):
            trial.hear_all(found, Refusal.RATE_LIMIT)
