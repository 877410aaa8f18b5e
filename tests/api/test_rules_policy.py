"""Rules that are made, changed and removed through the API."""

import asyncio
from typing import Any

import pytest

from alerting.finding import AlertKind
from alerting.rulebook import RuleBook
from api.scopes import Scope

NEW = {"id": "NO-O3", "title": "No o3 models", "match": {"model": ["o3*", "o4*"]}, "action": "block", "severity": "high"}
READ_ONLY = "The rule 'SEC-003' is defined in the config (its `rules` section): change it there"


@pytest.fixture
async def token(gateway: Any) -> str:
    return await gateway.token()


@pytest.fixture
def ask(gateway: Any, token: str) -> Any:
    async def asked(method: str, path: str, **more: Any) -> Any:
        return await gateway.ask(method, f"/api/v1/rules{path}", token=token, **more)

    return asked


async def audit(database: Any) -> Any:
    rows = await database.read("SELECT actor, action, subject FROM audit ORDER BY seq")
    return [row for row in rows if row[1].startswith("rule.")]


async def test_a_rule_is_made_changed_and_removed_and_the_audit_trail_says_by_whom(
    gateway: Any, ask: Any, rules: RuleBook, database: Any
) -> None:
    in_force: list[set[str]] = []
    rules.on_change = lambda policy: in_force.append({rule.id for rule in policy.settings})

    made = await ask("POST", "", json=NEW)
    gateway.clock.advance(hours=1)
    changed = await ask("PUT", "/NO-O3", json={**NEW, "action": "alert", "owner": "ann"})
    found = await ask("GET", "/NO-O3")
    removed = await ask("DELETE", "/NO-O3")

    expected = {
        **NEW,
        "priority": 0,
        "enabled": True,
        "match": {**NEW["match"], "timezone": "UTC"},
        "origin": "store",
        "in_force": True,
        "created_at": "2025-01-15T10:30:00Z",
        "created_by": "tester",
        "updated_at": "2025-01-15T10:30:00Z",
        "updated_by": "tester",
    }
    assert (made.status, made.body) == (201, {**expected, "warnings": []})
    later = {**expected, "action": "alert", "owner": "ann", "updated_at": "2025-01-15T11:30:00Z"}
    assert (changed.status, changed.body) == (200, {**later, "warnings": []})
    assert (found.status, found.body) == (200, later)
    assert (removed.status, removed.raw) == (204, b"")
    assert in_force == [{"SEC-003", "NO-O3"}, {"SEC-003", "NO-O3"}, {"SEC-003"}]
    assert await audit(database) == [("tester", f"rule.{what}", "NO-O3") for what in ("created", "changed", "deleted")]
    assert made.headers["X-Alert-Feed"] == "rules"


async def test_rules_are_listed_those_of_the_file_first(ask: Any) -> None:
    for number in range(3):
        await ask("POST", "", json={**NEW, "id": f"R-{number}", "enabled": number != 1})

    everything = (await ask("GET", "")).body

    assert (everything["total"], [rule["id"] for rule in everything["rules"]]) == (4, ["SEC-003", "R-0", "R-1", "R-2"])
    assert everything["rules"][0]["origin"] == "file"
    assert everything["rules"][0]["created_at"] is None
    for query, ids in (
        ("?origin=file", ["SEC-003"]),
        ("?origin=store", ["R-0", "R-1", "R-2"]),
        ("?enabled=false", ["R-1"]),
        ("?limit=2&offset=1", ["R-0", "R-1"]),
        ("?offset=4", []),
    ):
        assert [rule["id"] for rule in (await ask("GET", query)).body["rules"]] == ids
    assert (await ask("GET", "?origin=env")).status == 422


async def test_a_rule_of_the_config_file_is_read_only(ask: Any) -> None:
    for method, path, body in (
        ("PUT", "/SEC-003", {**NEW, "id": "SEC-003"}),
        ("DELETE", "/SEC-003", None),
        ("POST", "", {**NEW, "id": "SEC-003"}),
    ):
        answer = await ask(method, path, **({"json": body} if body else {}))
        assert (answer.status, answer.body["error"]["code"]) == (409, "CONFLICT")
        assert answer.body["detail"].startswith(READ_ONLY)


async def test_a_rule_that_is_there_already_is_a_conflict_and_one_that_is_not_is_not_found(ask: Any) -> None:
    await ask("POST", "", json=NEW)

    again = await ask("POST", "", json=NEW)

    assert (again.status, again.body["detail"]) == (409, "There is a rule 'NO-O3' already: change it, or give the new one another id")
    for method, path, body in (("GET", "/X", None), ("PUT", "/X", {**NEW, "id": "X"}), ("DELETE", "/X", None), ("GET", "/X/health", None)):
        answer = await ask(method, path, **({"json": body} if body else {}))
        assert (answer.status, answer.body) == (
            404,
            {"detail": "Rule X not found", "error": {"code": "NOT_FOUND", "message": "Rule X not found"}},
        )


async def test_a_rule_that_is_removed_meanwhile_is_not_found(ask: Any, rules: RuleBook, monkeypatch: pytest.MonkeyPatch) -> None:
    await ask("POST", "", json=NEW)
    kept = rules.get("NO-O3")
    await rules.remove("NO-O3", actor="ann")
    monkeypatch.setattr(rules, "get", lambda _rule_id: kept)

    assert ((await ask("PUT", "/NO-O3", json=NEW)).status, (await ask("DELETE", "/NO-O3")).status) == (404, 404)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"action": "deny"}, "action: "),
        ({"severity": "urgent"}, "severity: "),
        ({"match": {"modell": "x"}}, "unknown key match.modell"),
        ({"match": {"hours": "25:00-26:00"}}, "match.hours: "),
        ({"match": {"text": "(?=x)"}}, "match.text: "),
        ({"match": {"model": {"not": []}}}, "match.model: "),
        ({"match": {"model": [3]}}, "match.model: "),
        ({"match": {"min_bytes": 5, "max_bytes": 4}}, "match: min_bytes 5 is above max_bytes 4"),
        ({"id": "a/b"}, "id: 'a/b' is no id of a rule"),
        ({"id": "tollwatch:canary"}, "id: 'tollwatch:canary' begins with 'tollwatch:'"),
        ({"id": ""}, "id: "),
        ({"title": "x" * 201}, "title: "),
        ({"priority": "1"}, "priority: "),
        ({"enabled": "yes"}, "enabled: "),
        ({"origin": "file"}, "unknown key origin"),
    ],
)
async def test_a_rule_that_will_not_do_names_the_field_and_is_not_kept(ask: Any, rules: RuleBook, change: Any, field: str) -> None:
    answer = await ask("POST", "", json={**NEW, **change})

    assert (answer.status, answer.body["error"]["code"]) == (422, "INVALID_REQUEST")
    assert answer.body["detail"].startswith(field)
    assert len(rules.all()) == 1


async def test_a_rule_needs_what_a_rule_has(ask: Any) -> None:
    assert (await ask("POST", "", json={})).body["detail"] == "missing id"
    assert (await ask("POST", "", json={"id": "A", "title": "A", "action": "block"})).body["detail"] == "missing match"


async def test_the_id_of_a_rule_does_not_change(ask: Any) -> None:
    await ask("POST", "", json=NEW)

    refused = await ask("PUT", "/NO-O3", json={**NEW, "id": "OTHER"})
    passed = await ask("PUT", "/NO-O3", json={key: value for key, value in NEW.items() if key != "id"})

    assert (refused.status, refused.body["detail"][:30]) == (422, "id: 'OTHER' is not the id in t")
    assert (passed.status, passed.body["id"]) == (200, "NO-O3")


async def test_what_was_answered_may_be_changed_and_sent_back(ask: Any) -> None:
    await ask("POST", "", json={**NEW, "match": {"model": {"not": ["gpt-*"]}, "weekdays": "mon-fri", "timezone": "Europe/Berlin"}})
    found = (await ask("GET", "/NO-O3")).body

    changed = await ask("PUT", "/NO-O3", json={**found, "owner": "ann"})

    assert (changed.status, changed.body) == (200, {**found, "owner": "ann", "warnings": []})
    assert (await ask("PUT", "/NO-O3", json={**found, "nothing": 1})).body["detail"] == "unknown key nothing"
    assert (await ask("PUT", "/NO-O3", json=[])).status == 422


async def test_a_rule_of_an_odd_name_is_found_by_it(ask: Any) -> None:
    made = await ask("POST", "", json={**NEW, "id": "größer als 50 %"})
    found = await ask("GET", "/gr%C3%B6%C3%9Fer%20als%2050%20%25")

    assert (made.status, found.status, found.body["id"]) == (201, 200, "größer als 50 %")


WARNINGS: list[tuple[dict[str, Any], str, str | None, str]] = [
    ({"match": {"department": "sales"}, "action": "allow"}, "opposite_actions", "SEC-003", "at the same priority 0; the block counts."),
    ({"match": {"model": "gpt-4o"}, "action": "alert"}, "shadowed", "SEC-003", "rule SEC-003 decides on every call that it matches"),
    ({"match": {"endpoint": "chats"}}, "impossible", None, "No call can match rule NO-O3."),
]


@pytest.mark.parametrize(("change", "kind", "other", "message"), WARNINGS)
async def test_what_is_to_be_said_about_a_rule_comes_with_the_answer(
    ask: Any, change: Any, kind: str, other: str | None, message: str
) -> None:
    made = await ask("POST", "", json={**NEW, **change})

    assert made.status == 201
    warning = made.body["warnings"][0]
    assert (warning["type"], warning["rule_id"], warning["conflicting_rule_id"]) == (kind, "NO-O3", other)
    assert message in warning["message"]
    assert bool(warning["overlap"]) is (other is not None)


async def test_what_cannot_be_decided_about_a_rule_is_said_too(ask: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alerting.globs._MOST_STATES", 200)  # as with globs that are more entangled, in less time
    entangled = f"*a{'?' * 16}"
    await ask("POST", "", json={**NEW, "match": {"model": entangled.upper()}})

    made = await ask("POST", "", json={**NEW, "id": "OTHER", "match": {"model": entangled}, "action": "allow"})

    warning = next(one for one in made.body["warnings"] if one["type"] == "undecided")
    assert warning["rule_id"] == "OTHER"
    assert "200 states" in warning["message"]


async def test_a_conflict_is_raised_and_ends_with_the_rule(gateway: Any, ask: Any, rules: RuleBook, rule_watch: Any, token: str) -> None:
    changed = asyncio.Event()
    rules.on_change = lambda _policy: changed.set()

    async def alerts() -> Any:
        assert changed.is_set()
        changed.clear()
        await rule_watch.changed()
        return (await gateway.ask("GET", "/api/v1/alerts?alert_type=conflict_detected", token=token)).body["alerts"]

    await ask("POST", "", json={**NEW, "match": {"department": "sales"}, "action": "allow"})
    (raised,) = await alerts()
    await ask("DELETE", "/NO-O3")
    (ended,) = await alerts()

    assert (raised["rule_id"], raised["status"], ended["status"]) == ("NO-O3", "active", "resolved")
    assert raised["metadata"]["conflicting_rule_id"] == "SEC-003"
    assert raised["metadata"]["conflict_type"] == "opposite_actions"
    assert raised["metadata"]["overlap"].startswith("model gpt-4")


async def test_the_health_of_a_rule(gateway: Any, ask: Any, rule_watch: Any) -> None:
    await rule_watch.changed()
    await rule_watch.check()
    gateway.clock.advance(days=100)

    answer = await ask("GET", "/SEC-003/health")

    assert answer.status == 200
    told = answer.body
    assert (told["rule_id"], told["dormant"], told["measured_at"], told["enabled_at"]) == (
        "SEC-003",
        True,
        "2025-01-15T10:30:00Z",
        "2025-01-15T10:30:00Z",
    )
    assert told["parts"]["ownership"] == 0
    assert 0 < told["score"] < told["measured_score"] <= 100
    assert "It names no owner." in told["notes"]
    assert (told["last_evaluated_at"], told["deny_rate"], told["evaluation_count"]) == (None, None, 0)
    alerts = await gateway.services.alerts.list(kinds=[AlertKind.RULE_DORMANT])
    assert alerts == []  # to ask is not to measure


async def test_a_rule_that_is_off_has_no_health(ask: Any) -> None:
    await ask("POST", "", json={**NEW, "enabled": False})

    answer = await ask("GET", "/NO-O3/health")

    assert (answer.status, answer.body["detail"][:40]) == (409, "Rule NO-O3 is off: only a rule that is i")


async def test_the_store_takes_only_so_many_rules(ask: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alerting.rulebook.MOST_STORED", 0)

    answer = await ask("POST", "", json=NEW)

    assert (answer.status, answer.body["detail"]) == (422, "There are 0 stored rules, which is the most: remove some first")


async def test_who_may_only_read_makes_no_rule(gateway: Any, rules: RuleBook) -> None:
    reader = await gateway.token(Scope.ALERTS_READ, Scope.ALERTS_WRITE)

    for method, path in (("POST", ""), ("PUT", "/SEC-003"), ("DELETE", "/SEC-003")):
        answer = await gateway.ask(method, f"/api/v1/rules{path}", token=reader, json=NEW)
        assert (answer.status, answer.body["error"]["message"]) == (403, "the token 'tester' lacks the scope config:write")
    assert len(rules.all()) == 1
