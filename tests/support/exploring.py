"""Exploring an API as its description says it: requests are made up, fitting ones and others, in chains, too; each answer is checked."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
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


def explore(
    url: str,
    token: str,
    *,
    examples: int,
    seed: int = 1,
    cases: int = 1,
    phases: Iterable[str] = ALL_PHASES,
    thorough: bool = True,
    own_words: Mapping[str, str] | None = None,
) -> Found:
    """Explore a running API, again with the next seed until `cases` requests were made or a flaw is found.

    `thorough` tries each way in which each parameter can be wrong, too. `own_words` names operations that refuse what fits their description, each with the reason.
    """
    found = Found()
    while found.cases < cases and not found.flaws:
        for event in _events(url, token, examples=examples, seed=seed, phases=tuple(phases), thorough=thorough, own_words=own_words or {}):
            found.take(event)
        seed += 1
    return found


def _events(
    url: str, token: str, *, examples: int, seed: int, phases: tuple[str, ...], thorough: bool, own_words: Mapping[str, str]
) -> Iterator[Any]:
    config = schemathesis.Config.from_dict(
        {
            "base-url": url,
            "seed": seed,
            "headers": {"Authorization": f"Bearer {token}"},
            "generation": {"max-examples": examples, "database": "none", "no-shrink": True},
            "phases": {
                **{name: {"enabled": name in phases} for name in ALL_PHASES},
                "coverage": {"enabled": "coverage" in phases, "generation": {"mode": "all" if thorough else "positive"}},
                "stateful": {"enabled": "stateful" in phases, "max-steps": 5},
            },
            "operations": [{"include-name": name, "checks": {"positive_data_acceptance": {"enabled": False}}} for name in own_words],
            "continue-on-failure": True,
            "request-timeout": 20,
        }
    )
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json", config=config)
    yield from from_schema(schema).execute()
