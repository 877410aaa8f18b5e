"""Secrets and patterns in the text of prompts."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from alerting.finding import AlertKind
from alerting.policy import Policy
from alerting.rule_settings import RuleSettings
from alerting.secret_kinds import KINDS
from alerting.texts import IN_THREAD_FROM, Found, Scanner, known_kinds
from metering.call import Prompt
from metering.providers import FORMATS
from tests.support.corpus import CORPUS, MISSING, exchanges

SAMPLES = [json.loads(row) for row in (Path(__file__).parent / "secret_samples.jsonl").read_text(encoding="utf-8").splitlines()]
EVERYTHING = Scanner(kinds=known_kinds(("any",)), patterns=())
TOKEN = "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"
CARD = "4242 4242 4242 4242"


def kinds(text: str) -> list[str]:
    return sorted({found.kind for found in EVERYTHING.scan(Prompt(texts=(text,))).secrets})


@pytest.mark.parametrize(
    "number", range(len(SAMPLES)), ids=[f"{n}-{'+'.join(one['kinds']) or one['why']}" for n, one in enumerate(SAMPLES)]
)
def test_each_sample_is_what_it_is_said_to_be(number: int) -> None:
    sample = SAMPLES[number]

    assert kinds(sample["text"]) == sorted(sample["kinds"])
    assert kinds(f'Ünïcode 🐂 before:\n{sample["text"]}\nand after, "quoted"') == sorted(sample["kinds"])


def test_each_kind_has_a_sample() -> None:
    assert {kind.name for kind in KINDS} == {kind for sample in SAMPLES for kind in sample["kinds"]}


def test_what_fails_its_check_does_not_hide_what_is_real() -> None:
    assert kinds(f"{'ghp_' + 'x' * 36} {TOKEN}") == ["github_token"]
    assert kinds(f"1111 {CARD}") == ["credit_card"]


def strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from strings(inner)


@pytest.mark.skipif(not CORPUS.is_dir(), reason=MISSING)
def test_no_recorded_request_holds_what_looks_like_a_secret() -> None:
    found: list[tuple[int, str]] = []
    for exchange in exchanges():
        body = exchange.request_body
        texts = [body.decode("utf-8", "replace")]
        if body[:1] == b"{" and "json" in exchange.request_headers.get("content-type", ""):
            texts += strings(json.loads(body))
        found += [(exchange.number, one.kind) for one in EVERYTHING.scan(Prompt(texts=tuple(texts))).secrets]

    assert found == []


def test_places_are_named_as_people_count_them() -> None:
    prompt = Prompt(system=("Be nice.", f"Use {TOKEN}."), texts=("hi", CARD, CARD), tools=f'[{{"default":"{TOKEN}"}}]'.encode())

    found = Scanner(kinds=known_kinds(("github*", "credit_card")), patterns=("(?i)HI",)).scan(prompt)

    assert found.secrets == (
        Found("github_token", "the instructions"),
        Found("credit_card", "text 2 of 3"),
        Found("credit_card", "text 3 of 3"),
        Found("github_token", "the definitions of tools"),
    )
    assert found.patterns == {"(?i)HI": "text 1 of 3"}


def test_a_place_is_the_message_as_the_request_counts_them() -> None:
    body: dict[str, Any] = {
        "messages": [
            {"role": "system", "content": f"Use {TOKEN}."},
            {"role": "user", "content": [{"type": "text", "text": "hi: "}, {"type": "text", "text": CARD}]},
            {"role": "assistant", "content": "no"},
            {"role": "user", "content": f"{CARD} owl"},
        ]
    }
    scanner = Scanner(kinds=known_kinds(("any",)), patterns=("owl",))

    found = scanner.scan(FORMATS["openai.chat"].read_request(body).prompt)

    places = [(one.kind, one.place) for one in found.secrets]
    assert places == [("github_token", "message 1 (instructions)"), ("credit_card", "message 2"), ("credit_card", "message 4")]
    assert found.patterns == {"owl": "message 4"}
    claude = {"system": TOKEN, "messages": body["messages"][1:], "max_tokens": 1}
    first, second, *_ = scanner.scan(FORMATS["anthropic.messages"].read_request(claude).prompt).secrets
    assert (first.place, second.place) == ("the instructions", "message 1")


def test_text_that_is_no_unicode_is_looked_through_too() -> None:
    assert kinds(f"\ud800 {TOKEN}") == ["github_token"]


@pytest.mark.parametrize(
    "piece", ["a", "4 ", "-----BEGIN ", "eyJ", "sk-", "token='", "4111 1111 1111 1112 ", "eyJhbGciOi.eyJ", "AKIA sk-ant-api03- xoxb-1 "]
)
@pytest.mark.untraced
def test_hostile_text_takes_no_longer_than_other_text_and_hides_nothing(piece: str) -> None:
    scanner = Scanner(kinds=known_kinds(("any",)), patterns=("(a+)+$", "(a|aa)+b", "(?:.*a){12}b"))
    text = f"{piece * (300_000 // len(piece))} {TOKEN}"
    begun = time.process_time()

    found = scanner.scan(Prompt(texts=(text,)))

    assert time.process_time() - begun < 5
    assert "github_token" in {one.kind for one in found.secrets}


def a_rule(match: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"id": "TEXT", "title": "What may be said", "match": match, "action": "block", "severity": "critical", **more}


MATCHES = [
    ({"secrets": "any"}, f"it is {TOKEN}", True),
    ({"secrets": "any"}, "it is nothing", False),
    ({"secrets": ["aws*", "github_token"]}, f"it is {TOKEN}", True),
    ({"secrets": "aws*"}, f"it is {TOKEN}", False),
    ({"secrets": {"not": "github*"}}, f"it is {TOKEN}", False),
    ({"secrets": {"not": "github*"}}, f"it is {CARD}", True),
    ({"text": "(?i)project (raven|owl)"}, "About Project OWL", True),
    ({"text": ["raven", "owl"]}, "an owl", True),
    ({"text": "^owl"}, "an owl", False),
    ({"text": {"not": "internal use"}}, "an owl", True),
    ({"text": {"not": "owl"}}, "an owl", False),
    ({"text": "owl", "secrets": "any"}, f"{CARD} owl", True),
    ({"text": "owl", "secrets": "any"}, f"{CARD}", False),
]


@pytest.mark.parametrize(("match", "text", "expected"), MATCHES)
async def test_a_rule_is_about_the_text_that_it_names(worlds: Any, a_call: Any, match: Any, text: str, expected: Any) -> None:
    world = worlds(rules=[a_rule(match)])

    assert (await world.gate.admit(a_call(text=text))).blocked is expected


@pytest.mark.parametrize("filling", ["", "word " * (IN_THREAD_FROM // 5 + 1)], ids=["short", "long, in a thread"])
async def test_a_finding_names_kind_and_place_and_never_the_secret(worlds: Any, a_call: Any, filling: str) -> None:
    world = worlds(rules=[a_rule({"secrets": "any"})])

    verdict = await world.gate.admit(a_call(system="Be nice.", text=f"{filling}{TOKEN} and {CARD}"))

    assert verdict.message == (
        "Policy rule TEXT (What may be said) does not allow this call: GitHub token in text 1 of 1, payment card number in text 1 of 1. "
        "Take the secret out of the prompt; if it was sent before, revoke it."
    )
    (alert,) = await world.alerts(AlertKind.POLICY_VIOLATION)
    kept = (
        repr(alert) + repr(await world.database.read("SELECT * FROM detections")) + repr(await world.database.read("SELECT * FROM calls"))
    )
    assert TOKEN not in kept
    assert "4242" not in kept
    assert alert.evidence[0]["secrets"] == "credit_card, github_token"


async def test_a_pattern_is_named_by_its_number(worlds: Any, a_call: Any) -> None:
    world = worlds(rules=[a_rule({"text": ["raven", "owl"], "user": {"not": "ann"}})])

    verdict = await world.gate.admit(a_call(text="an owl"))

    assert "user unknown, text pattern 2 of 2 in text 1 of 1." in verdict.message


def test_a_policy_without_such_rules_reads_no_text() -> None:
    assert Policy([RuleSettings.model_validate(a_rule({"model": "x"}))]).scanner is None
