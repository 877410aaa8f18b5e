"""Whether a call exists that some rules match and others do not, held against the real matcher over every call of a small world."""

import random
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import combinations, product
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from alerting.overlap import an_example, said_by
from alerting.rule import Rule
from alerting.rule_settings import Match, RuleSettings
from alerting.schedule import DAYS
from alerting.texts import Found, Scan, known_kinds
from metering.call import Call, Consumption, Endpoint

MONDAY = datetime(2026, 3, 2, tzinfo=UTC)
MODELS: list[Any] = ["", "a", "b", "ab", "aa", "bb", "aab", "bba", "z", "ab1", None, "free"]
NAMES: list[Any] = ["", "a", "b", "ab", "ba", "z", None]
TOOLS = [tools for size in range(4) for tools in combinations(["a", "b", "ab", "z"], size)]
KINDS = sorted(known_kinds(("any",)))[:2]
SCANS = [
    Scan(secrets=tuple(Found(kind, "text") for kind in kinds), patterns=dict.fromkeys(patterns, "text"))
    for kinds in ((), KINDS[:1], KINDS[1:], KINDS, ("of another kind",))
    for patterns in ((), ("alpha",), ("beta",), ("alpha", "beta"))
]
WORLD: dict[str, list[Any]] = {
    "model": MODELS,
    "department": NAMES,
    "endpoint": list(Endpoint),
    "tools": TOOLS,
    "input_tokens": [*range(8)],
    "bytes": [*range(8)],
    "time": [MONDAY + timedelta(hours=hour, minutes=30) for hour in (*range(-4, 30, 2), *range(60, 72, 3), *range(116, 180, 4))],
    "contents": SCANS,
}
FIELD_OF = {
    "min_input_tokens": "input_tokens",
    "max_input_tokens": "input_tokens",
    "min_bytes": "bytes",
    "max_bytes": "bytes",
    "hours": "time",
    "weekdays": "time",
    "secrets": "contents",
    "text": "contents",
}


FIELDS = ["model", "department", "endpoint", "tools", "tokens", "bytes", "hours", "weekdays", "contents"]


def random_match(chance: random.Random, fields: list[str]) -> dict[str, Any]:
    globs = ["a*", "*b", "?", "a?", "*", "[ab]*", "[!a]*", "ab", "b", "*a*"]
    said: dict[str, Any] = {}
    for name in chance.sample(fields, k=2):
        if name == "tokens":
            said |= _span(chance, "input_tokens")
        elif name == "bytes":
            said |= _span(chance, "bytes")
        elif name == "hours":
            said["hours"] = _maybe_not(chance, chance.sample(["00:00-09:00", "09:00-17:00", "17:00-24:00", "22:00-06:00"], k=2))
            said["timezone"] = chance.choice(["UTC", "UTC", "Asia/Tokyo"])
        elif name == "weekdays":
            said["weekdays"] = _maybe_not(chance, chance.sample(["mon-fri", "sat", "sun-mon", "wed"], k=1))
        elif name == "contents":
            said[chance.choice(["secrets", "text"])] = None
        else:
            pool = ["chat", "*s", "m*", "[!a-m]*"] if name == "endpoint" else globs
            said[name] = _maybe_not(chance, chance.sample(pool, k=chance.randint(1, 2)))
    if "secrets" in said:
        said["secrets"] = _maybe_not(chance, chance.sample([*KINDS, "any"], k=1))
    if "text" in said:
        said["text"] = _maybe_not(chance, chance.sample(["alpha", "beta"], k=chance.randint(1, 2)))
    return said


def _span(chance: random.Random, unit: str) -> dict[str, int]:
    least, most = sorted(chance.sample(range(1, 7), k=2))
    return chance.choice([{f"min_{unit}": least}, {f"max_{unit}": most}, {f"min_{unit}": least, f"max_{unit}": most}])


def _maybe_not(chance: random.Random, patterns: list[str]) -> Any:
    return {"not": patterns} if chance.random() < 0.35 else patterns


def as_match(said: dict[str, Any]) -> Match:
    return Match.model_validate(said)


def is_one(call: tuple[Call, int, Scan], wanted: Sequence[Rule], unwanted: Sequence[Rule]) -> bool:
    """Ask the real matcher."""
    return all(_holds(rule, *call) for rule in wanted) and not any(_holds(rule, *call) for rule in unwanted)


def _holds(rule: Rule, call: Call, tokens: int, scan: Scan) -> bool:
    return rule.may_match(call) and rule.matches(call, tokens=tokens, exact=True, scan=scan) is True


def compiled(match: Match) -> Rule:
    return Rule(RuleSettings.model_validate({"id": "r", "title": "A rule", "match": match, "action": "alert"}))


def calls_of(a_call: Any, *said: Match) -> Iterator[tuple[Call, int, Scan]]:
    """Return every call of the small world, as far as it differs in a field that the matches look at."""
    used = sorted({FIELD_OF.get(name, name) for match in said for name in match.model_fields_set - {"timezone"}})
    for values in product(*(WORLD[name] for name in used)):
        yield made(a_call, dict(zip(used, values, strict=True)))


def made(a_call: Any, fields: dict[str, Any]) -> tuple[Call, int, Scan]:
    changes: dict[str, Any] = {name: fields[name] for name in ("endpoint", "tools", "model") if name in fields}
    if changes.get("model") == "free":
        changes |= {"model": None, "consumption": Consumption.FREE}
    if "bytes" in fields:
        changes["request_bytes"] = fields["bytes"]
    if "time" in fields:
        changes["started_at"] = fields["time"]
    call: Call = a_call(**changes, caller={"department": fields["department"]} if "department" in fields else None)
    return call, fields.get("input_tokens", 0), fields.get("contents", Scan())


def calls_like(a_call: Any, example: Any) -> list[tuple[Call, int, Scan]]:
    """Return the call that an example describes; where its model is unknown, also the one that costs nothing."""
    fields = dict(example)
    if "time" in fields:
        day, clock, zone = fields["time"].split(" ")
        hour, minute = map(int, clock.split(":"))
        fields["time"] = datetime(2026, 3, 2 + DAYS.index(day), hour, minute, tzinfo=ZoneInfo(zone)).astimezone(UTC)
    if "endpoint" in fields:
        fields["endpoint"] = Endpoint(fields["endpoint"])
    secrets, patterns = fields.pop("secrets", ()), fields.pop("text", ())
    fields["contents"] = Scan(secrets=tuple(Found(kind, "text") for kind in secrets), patterns=dict.fromkeys(patterns, "text"))
    models = [None, "free"] if fields.get("model", "") is None else [fields.get("model")]
    return [made(a_call, fields | ({"model": model} if "model" in fields else {})) for model in models]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.untraced
def test_an_example_is_found_exactly_when_a_call_of_the_world_is_one(seed: int, a_call: Any) -> None:
    chance = random.Random(seed)
    outcomes = set[bool]()

    for _ in range(60):
        fields = chance.sample(FIELDS, k=chance.choice([2, 2, 3]))
        said = [as_match(random_match(chance, fields)) for _ in range(chance.randint(2, 3))]
        split = chance.randint(1, len(said))
        wanted, unwanted = (list(map(compiled, part)) for part in (said[:split], said[split:]))
        exists = any(is_one(call, wanted, unwanted) for call in calls_of(a_call, *said))
        example = an_example(said[:split], said[split:])
        outcomes.add(exists)

        if example is None:
            assert not exists, said
        else:
            assert any(is_one(call, wanted, unwanted) for call in calls_like(a_call, example)), (said, split, example)

    assert outcomes == {True, False}


def test_every_field_of_a_match_says_something() -> None:
    whole = {
        **dict.fromkeys(("provider", "model", "operation", "endpoint", "host", "path", "user", "department", "agent", "service"), "a*"),
        **dict.fromkeys(("key_id", "tools", "text"), "a*"),
        "min_input_tokens": 1,
        "max_input_tokens": 2,
        "min_bytes": 1,
        "max_bytes": 2,
        "hours": "09:00-17:00",
        "weekdays": "mon",
        "timezone": "Asia/Tokyo",
        "secrets": "any",
    }
    assert set(Match.model_fields) == set(whole)

    assert len({field for field, _said in said_by(as_match(whole))}) == len(Match.model_fields) - 4


ZONES = [
    # 09:00 to 10:00 in Berlin is 08:00 to 09:00 in London, summer and winter; in New York 03:00 or, some weeks a year, 04:00.
    ("Europe/Berlin", "09:00-10:00", "Europe/London", "08:00-09:00", True),
    ("Europe/Berlin", "09:00-10:00", "Europe/London", "09:00-10:00", False),
    ("Europe/Berlin", "09:00-10:00", "America/New_York", "03:00-04:00", True),
    ("Europe/Berlin", "09:00-10:00", "America/New_York", "04:00-05:00", True),
    ("Europe/Berlin", "09:00-10:00", "America/New_York", "05:00-06:00", False),
    ("UTC", "23:00-24:00", "Asia/Kolkata", "04:30-05:30", True),
    ("UTC", "23:00-24:00", "Asia/Kolkata", "05:30-06:30", False),
]


@pytest.mark.parametrize(("zone", "hours", "other_zone", "other_hours", "meet"), ZONES)
def test_hours_meet_as_the_clocks_of_their_zones_do(zone: Any, hours: Any, other_zone: Any, other_hours: Any, meet: Any) -> None:
    one = as_match({"hours": hours, "timezone": zone})
    other = as_match({"hours": other_hours, "timezone": other_zone})

    assert (an_example([one, other]) is not None) is meet
