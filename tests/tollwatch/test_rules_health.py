"""`rules health` and `rules backtest` beside a running gateway, as a user sees them."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.asking import ask, chat
from tests.support.gateway import Gateway, poll
from tests.support.provider import Provider
from tollwatch import cli

RULES: list[dict[str, Any]] = [
    {"id": "SEC-1", "title": "No GPT-4 models", "match": {"model": "gpt-4*"}, "action": "block", "owner": "ann", "description": "Cost."},
    {"id": "EXC-1", "title": "Sales may call all", "match": {"department": "sales"}, "action": "allow"},
    {"id": "MINI", "title": "mini", "match": {"model": "gpt-4o-mini*"}, "action": "alert"},
    {"id": "CHATS", "title": "Chats are told of", "match": {"endpoint": "chats"}, "action": "alert"},
    {"id": "REST", "title": "All else is told of", "match": {"model": "*"}, "action": "alert", "priority": -1},
]
BUDGET: dict[str, Any] = {"name": "small", "limit": "10 tokens", "period": "month", "on_exceed": "alert", "warn_at": []}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("health")
    with Provider(folder) as provider, Gateway(folder / "g", provider, config={"mode": "monitor", "rules": RULES}) as running:
        for model in ("gpt-4o", "gpt-4o", "o3"):
            assert asyncio.run(ask(running, chat() | {"model": model})).status == 200
        running.wait_settled(3)
        yield running


@pytest.fixture
def shell(gateway: Gateway, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("TOLLWATCH_CONFIG", str(gateway.config_file))

    def run(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = cli.main(arguments)
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def test_conflicts_are_alerted_at_the_start(shell: Any) -> None:
    poll(lambda: len(shell("alerts", "ls", "--json", "--kind", "rule_conflict")[1].splitlines()) == 2, what="two conflicts")

    told = {json.loads(row)["message"] for row in shell("alerts", "ls", "--json", "--kind", "rule_conflict")[1].splitlines()}
    assert any("contradict" in one or "at the same priority 0; the block counts" in one for one in told)
    assert any("Rule MINI (mini) never decides: rule SEC-1 decides on every call that it matches" in one for one in told)


def test_health_tells_of_each_rule_and_of_all_together(shell: Any) -> None:
    code, told, _ = shell("rules", "health")

    assert code == 0
    assert "SCORE  ID" in told
    assert "CHATS can match no call." in told
    assert "MINI never decides: SEC-1 decides before it (for example model gpt-4o-mini)." in told
    assert "SEC-1 (block) and EXC-1 (allow) contradict each other on model gpt-4, department sales, at the same priority" in told
    assert "EXC-1: It names no owner." in told


def test_the_list_of_rules_ends_with_those_in_conflict(shell: Any) -> None:
    _, _, said = shell("rules", "ls")

    assert [text.split(" (")[0] for text in said.splitlines()] == ["Rule MINI", "Rule SEC-1"]


def test_health_as_json(shell: Any) -> None:
    report = json.loads(shell("rules", "health", "--json")[1])

    by_id = {one["rule_id"]: one for one in report["rules"]}
    assert set(by_id) == {rule["id"] for rule in RULES}
    assert by_id["SEC-1"]["parts"]["ownership"] == 100
    assert by_id["CHATS"]["parts"]["clarity"] == 0
    assert by_id["SEC-1"]["score"] > by_id["MINI"]["score"]
    assert (report["impossible"], [one["rule_id"] for one in report["shadowed"]]) == (["CHATS"], ["MINI"])
    assert [(one["decides"], one["other"]) for one in report["conflicts"]] == [("SEC-1", "EXC-1")]
    assert {one["other"] for one in report["overlaps"]} >= {"MINI", "REST"}


def test_a_rule_in_force_is_back_tested_by_its_id(shell: Any) -> None:
    code, told, _ = shell("rules", "backtest", "SEC-1")

    assert code == 0
    assert "2 would have been blocked" in told
    assert "2 of those it fires on the gateway recorded under this id" in told
    assert "gpt-4o      2" in told
    assert "SAMPLE" in told


def test_a_file_of_a_rule_is_back_tested_among_the_others_or_alone(shell: Any, tmp_path: Path) -> None:
    file = tmp_path / "rule.yaml"
    file.write_text("{id: new, title: A new rule, match: {model: ['gpt-*', 'o3'], tools: shell}, action: alert, priority: -2}")

    among = json.loads(shell("rules", "backtest", str(file), "--json")[1])
    alone = json.loads(shell("rules", "backtest", str(file), "--json", "--alone")[1])
    told = shell("rules", "backtest", str(file), "--alone")[1]

    assert (among["fired"], among["decided_elsewhere"], among["unknown"]) == (0, 3, 0)
    assert (alone["fired"], alone["unknown"], alone["unknown_for"]) == (0, 3, {"tools": 3})
    assert "3 cannot be told" in told
    assert "3: the ledger does not keep which tools a call defines" in told


def test_a_file_of_a_budget_is_back_tested(shell: Any, tmp_path: Path) -> None:
    file = tmp_path / "budgets.json"
    hard = {**BUDGET, "name": "hard", "on_exceed": "block", "limit": "1 tokens", "wait": "0s"}
    read = {**hard, "name": "read", "limit": "50 tokens", "reserve": "input_only"}
    file.write_text(json.dumps({"budgets": [BUDGET, hard, read]}))

    together = json.loads(shell("rules", "backtest", str(file), "--json")[1])
    soft, hard, read = json.loads(shell("rules", "backtest", str(file), "--json", "--monitor")[1])
    told = shell("rules", "backtest", str(file), "--monitor")[1]

    assert [(one["budget"], one["refused"], len(one["crossings"])) for one in together] == [("small", 0, 0), ("hard", 3, 0), ("read", 0, 0)]
    assert [one["share"] for one in soft["crossings"]] == [1.0]
    assert (soft["refused"], hard["refused"], hard["refused_maybe"]) == (0, 3, 0)
    assert (read["refused"], read["refused_maybe"]) == (0, 3)
    assert "Budget small, 10 tokens per month" in told
    assert "3 may have been refused or ended" in told


def test_of_a_whole_config_file_its_rules_and_budgets_are_back_tested(shell: Any, tmp_path: Path) -> None:
    file = tmp_path / "whole.json"
    rule = {"id": "new", "title": "A new rule", "match": {"model": "gpt-*"}, "action": "alert"}
    file.write_text(json.dumps({"version": 1, "mode": "monitor", "budgets": [BUDGET], "rules": [rule], "log": {"level": "debug"}}))

    tested = json.loads(shell("rules", "backtest", str(file), "--json")[1])

    assert [one.get("budget") or one["rule_id"] for one in tested] == ["small", "new"]


FAULTS = [
    ("nothing", 2, "'nothing' is neither a file nor the id of a rule or a budget"),
    ("{}", 2, "holds no rule and no budget"),
    ("{id: a b, title: t, match: {}, action: blok}", 1, "action"),
    ("rules: [3]", 2, "3 is neither a rule nor a budget"),
    ("{name: b, limit: 5 EUR}", 1, "limit"),
]


@pytest.mark.parametrize(("given", "code", "told"), FAULTS)
def test_what_cannot_be_back_tested_is_told(shell: Any, tmp_path: Path, given: str, code: int, told: str) -> None:
    what = given
    if given != "nothing":
        (tmp_path / "given.yaml").write_text(given)
        what = str(tmp_path / "given.yaml")

    ended, _, said = shell("rules", "backtest", what)

    assert (ended, told in said) == (code, True), said
