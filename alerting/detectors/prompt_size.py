"""Prompts that are larger than they should be."""

from alerting.finding import Action, AlertKind, Finding
from alerting.kinds import KINDS
from alerting.settings import PromptSizeSettings
from alerting.subjects import NOBODY, subject_of
from metering.call import Call


class PromptSize:
    """Compares a prompt with the limits of the config, in tokens and in characters."""

    def __init__(self, settings: PromptSizeSettings) -> None:
        self._settings = settings

    def exact_matters(self, *, bound: int) -> bool:
        """Whether a prompt of at most `bound` tokens may be over the limit."""
        return self._settings.max_tokens is not None and bound > self._settings.max_tokens

    def check(self, call: Call, *, tokens: int) -> Finding | None:
        """Return the finding when the prompt is larger than a limit. `tokens` may be an upper bound where that is within it."""
        limit = self._settings
        if limit.max_tokens is not None and tokens > limit.max_tokens:
            return self._finding(call, size=tokens, limit=limit.max_tokens, unit="tokens")
        if limit.max_chars is not None and (chars := call.prompt.chars) > limit.max_chars:
            return self._finding(call, size=chars, limit=limit.max_chars, unit="characters")
        return None

    def _finding(self, call: Call, *, size: int, limit: int, unit: str) -> Finding:
        action = self._settings.action
        return Finding(
            kind=AlertKind.PROMPT_SIZE,
            action=action,
            severity=KINDS[AlertKind.PROMPT_SIZE].severity_of(blocked=action is Action.BLOCK),
            title=f"Prompt larger than {limit:,} {unit}",
            message=f"The prompt has {size:,} {unit}; the limit is {limit:,}.",
            episode=(call.service, call.caller.agent or call.caller.user or NOBODY),
            subject=subject_of(call),
            evidence={"size": size, "limit": limit, "unit": unit, "messages": call.prompt.messages},
            remedy="Send a shorter prompt, or raise detectors.prompt_size.",
        )
