"""Exploring an API as its description says it: requests are made up, fitting ones and others, in chains, too; each answer is checked."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import schemathesis
from schemathesis.engine import events, from_schema

ALL_PHASES = ("examples", "coverage", "fuzzing", "stateful")


@dataclass
class Found:
    """What came of an exploration: requests by phase and by status, and the first of each kind of flaw."""

    cases: int = 0
    by_phase: Counter[str] = field(default_factory=Counter)
    by_status: Counter[int] = field(default_factory=Counter)
    flaws: dict[str, str] = field(default_factory=dict)

    def take(self, event: Any) -> None:
        match event:
            case events.ScenarioFinished():
                self._scenario(event)
            case events.NonFatalError():
                self.flaws.setdefault(f"{event.label}: {event.info.title}", event.info.message)
            case events.FatalError():
                raise event.exception
            case _:
                pass

    def _scenario(self, event: events.ScenarioFinished) -> None:
        recorder = event.recorder
        self.cases += len(recorder.interactions)
        self.by_phase[event.phase.value] += len(recorder.interactions)
        answers = (interaction.response for interaction in recorder.interactions.values())
        self.by_status.update(answer.status_code for answer in answers if answer is not None)
        for case_id, checks in recorder.checks.items():
            for check in checks:
                if (info := check.failure_info) is not None:
                    name = f"{recorder.cases[case_id].value.operation.label}: {check.name}"
                    self.flaws.setdefault(name, f"{info.failure.message[:600]}\n{info.code_sample[:600]}")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What to try: so many made-up requests for each operation in each phase."""

    examples: int
    seed: int = 1
    phases: tuple[str, ...] = ALL_PHASES
    thorough: bool = False
    """Each way in which each parameter can be wrong, too."""
    own_words: Mapping[str, str] = field(default_factory=dict)
    """Operations that may refuse what fits their description, each with the reason."""
    lives_on: Mapping[str, str] = field(default_factory=dict)
    """Operations that find what was deleted, each with the reason."""
    left_out: Mapping[str, str] = field(default_factory=dict)
    """Operations that are not tried, each with the reason."""

    def config(self, url: str, token: str) -> schemathesis.Config:
        coverage = {"enabled": "coverage" in self.phases, "generation": {"mode": "all" if self.thorough else "positive"}}
        return schemathesis.Config.from_dict(
            {
                "base-url": url,
                "seed": self.seed,
                "headers": {"Authorization": f"Bearer {token}"},
                "generation": {"max-examples": self.examples, "database": "none", "no-shrink": True, "allow-x00": False},
                "phases": {
                    **{name: {"enabled": name in self.phases} for name in ALL_PHASES},
                    "coverage": coverage,
                    "stateful": {"enabled": "stateful" in self.phases, "max-steps": 5},
                },
                "operations": [
                    *({"include-name": name, "checks": {"positive_data_acceptance": {"enabled": False}}} for name in self.own_words),
                    *({"include-name": name, "checks": {"use_after_free": {"enabled": False}}} for name in self.lives_on),
                    *({"include-name": name, "enabled": False} for name in self.left_out),
                ],
                "continue-on-failure": True,
                "request-timeout": 20,
            }
        )


def explore(url: str, token: str, plan: Plan, *, cases: int = 1) -> Found:
    """Explore a running API, again with the next seed until `cases` requests were made or a flaw is found.

    Examples and coverage are the same with every seed: they are tried once.
    """
    found = Found()
    while found.cases < cases and not found.flaws:
        schema = schemathesis.openapi.from_url(f"{url}/openapi.json", config=plan.config(url, token))
        for event in from_schema(schema).execute():
            found.take(event)
        plan = replace(plan, seed=plan.seed + 1, phases=tuple(name for name in plan.phases if name in {"fuzzing", "stateful"}))
    return found
