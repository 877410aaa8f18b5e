"""The organisation's budgets and policies."""

import re
from typing import Any
from uuid import UUID, uuid5

import pytest

from alerting.rule_settings import RuleSettings
from api.scopes import Scope
from metering.budgets import BudgetBook
from metering.settings import BudgetSettings

ORG = "a1b2c3d4-0000-0000-0000-000000000000"
POLICY = {"rule_id": "SEC-004", "title": "No o1 for sales", "match": {"model": "o1*", "department": {"not": ["sales"]}}, "action": "block"}


@pytest.fixture
def file_rules() -> list[RuleSettings]:
    return []


@pytest.fixture
async def token(gateway: Any) -> str:
    return await gateway.token(Scope.ALERTS_READ, Scope.CONFIG_WRITE)


async def test_budgets_are_listed_and_found_by_id_and_name(gateway: Any, token: str) -> None:
    settings = [BudgetSettings.model_validate({"name": name, "limit": "50 USD"}) for name in ("daily-total", "team a")]
    gateway.services.ledger.follow(BudgetBook(settings).all)

    answer = await gateway.ask("GET", "/v1/budgets", token=token)

    first, second = answer.body["items"]
    assert {key: answer.body[key] for key in ("next_cursor", "has_more", "total_count")} == {
        "next_cursor": None,
        "has_more": False,
        "total_count": 2,
    }
    assert (first["id"], first["org_id"], first["name"], first["limit"]) == (str(uuid5(UUID(ORG), "daily-total")), ORG, "daily-total", "50")
    for name in (first["id"], "daily-total"):
        assert (await gateway.ask("GET", f"/v1/budgets/{name}", token=token)).body == first
    assert (await gateway.ask("GET", "/v1/budgets/team%20a", token=token)).body == second
    missing = await gateway.ask("GET", "/v1/budgets/none", token=token)
    assert (missing.status, missing.body) == (404, {"error": "not_found", "message": "there is no such budget"})


async def test_a_policy_is_made_shown_and_changed_and_judges_at_once(gateway: Any, token: str) -> None:
    heard: list[Any] = []
    gateway.services.rules.on_change = heard.append

    made = await gateway.ask("POST", "/v1/policies", token=token, json=POLICY)

    assert made.status == 201
    assert POLICY.items() <= made.body.items()
    assert (made.body["id"], made.body["source"], made.body["in_force"]) == (str(uuid5(UUID(ORG), "SEC-004")), "api", True)
    assert (made.body["severity"], made.body["created_by"], made.body["created_at"]) == ("medium", "tester", "2025-01-15T10:30:00Z")
    for name in (made.body["id"], "SEC-004"):
        assert (await gateway.ask("GET", f"/v1/policies/{name}", token=token)).body == made.body
    changed = await gateway.ask("PATCH", f"/v1/policies/{made.body['id']}", token=token, json={"severity": "critical", "enabled": False})
    assert changed.body == {**made.body, "severity": "critical", "enabled": False, "in_force": False}
    assert "SEC-004" in [rule.id for rule in heard[0].rules]
    assert len(heard) == 2
    listed = await gateway.ask("GET", "/v1/policies", token=token)
    assert listed.body == {"items": [changed.body], "next_cursor": None, "has_more": False, "total_count": 1}


async def test_a_policy_without_an_id_gets_one(gateway: Any, token: str) -> None:
    made = await gateway.ask("POST", "/v1/policies", token=token, json={key: POLICY[key] for key in ("title", "match", "action")})

    assert re.fullmatch("policy-[0-9a-f]{8}", made.body["rule_id"])


async def test_a_policy_that_does_not_fit_is_refused_by_its_field(gateway: Any, token: str) -> None:
    faults: list[tuple[dict[str, Any], str]] = [
        ({"action": "stop"}, "action"),
        ({"match": {"modell": "x"}}, "modell"),
        ({"match": {"hours": ["25:00-26:00"]}}, "hours"),
        ({"match": {"model": []}}, "names nothing"),
        ({"rule_id": "a/b"}, "no id of a rule"),
        ({"title": ""}, "title"),
        ({"priority": 9_999_999}, "priority"),
        ({"surprise": 1}, "unknown key surprise"),
    ]
    for body, said in faults:
        answer = await gateway.ask("POST", "/v1/policies", token=token, json={**POLICY, **body})

        assert (answer.status, answer.body["error"]) == (400, "invalid_request")
        assert said in answer.body["message"]
    assert gateway.services.rules.all() == []


async def test_a_policy_is_made_once(gateway: Any, token: str) -> None:
    await gateway.ask("POST", "/v1/policies", token=token, json=POLICY)

    again = await gateway.ask("POST", "/v1/policies", token=token, json=POLICY)

    assert (again.status, again.body["error"]) == (409, "conflict")
    missing = await gateway.ask("PATCH", "/v1/policies/none", token=token, json={"enabled": False})
    assert (missing.status, missing.body["error"]) == (404, "not_found")


async def test_policies_come_in_pages(gateway: Any, token: str) -> None:
    for number in range(5):
        await gateway.ask("POST", "/v1/policies", token=token, json={**POLICY, "rule_id": f"R-{number}"})
    names, cursor = [], ""
    for _ in range(3):
        body = (await gateway.ask("GET", f"/v1/policies?limit=2{cursor}", token=token)).body
        names += [item["rule_id"] for item in body["items"]]
        cursor = f"&cursor={body['next_cursor']}"

    assert names == [f"R-{number}" for number in range(5)]
    assert (body["next_cursor"], body["has_more"], body["total_count"]) == (None, False, 5)
    await gateway.services.rules.remove("R-1", actor="test")
    stale = (await gateway.ask("GET", "/v1/policies?limit=2", token=token)).body["next_cursor"]
    await gateway.services.rules.remove("R-2", actor="test")
    assert (await gateway.ask("GET", f"/v1/policies?limit=2&cursor={stale}", token=token)).body["items"] == []


class TestPoliciesOfTheConfig:
    @pytest.fixture
    def file_rules(self) -> list[RuleSettings]:
        return [RuleSettings.model_validate({"id": "SEC-003", "title": "No GPT-4", "match": {"model": "gpt-4*"}, "action": "block"})]

    async def test_are_read_only_and_say_where_they_live(self, gateway: Any, token: str) -> None:
        shown = (await gateway.ask("GET", "/v1/policies/SEC-003", token=token)).body
        assert (shown["source"], shown["created_at"]) == ("config", None)

        for method, path, body in (
            ("PATCH", "/v1/policies/SEC-003", {"enabled": False}),
            ("POST", "/v1/policies", {**POLICY, "rule_id": "SEC-003"}),
        ):
            answer = await gateway.ask(method, path, token=token, json=body)
            assert (answer.status, answer.body["error"]) == (409, "conflict")
            assert "its `rules` section" in answer.body["message"]
