"""`rules ls|show|test|add|rm|enable|disable`, against a gateway that runs and without one."""

import asyncio
import contextlib
import json
import re
import sqlite3
from pathlib import Path
from typing import Any

import pytest
import yaml

from alerting.policy import Policy
from alerting.rule_settings import RuleSettings
from tests.support.asking import ask, chat
from tests.support.client import Response
from tests.support.gateway import ROOT, Gateway
from tests.support.provider import Provider
from tollwatch import cli

FILE_RULE = {"id": "SEC-003", "title": "No o3", "match": {"model": "o3*"}, "action": "block", "severity": "high"}
NO_SECRETS = {"id": "SECRETS", "title": "No secrets", "match": {"secrets": "any"}, "action": "block", "severity": "critical"}
TOKEN = "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"


def test_the_examples_of_the_page_are_rules_that_load() -> None:
    page = (ROOT / "docs" / "policies.md").read_text(encoding="utf-8")

    examples = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)]

    rules = [RuleSettings.model_validate(rule) for example in examples for rule in example["rules"]]
    assert len(rules) > 5
    assert len(Policy(rules).rules) == len(rules) + 1


def call(gateway: Gateway, text: str) -> Response:
    return asyncio.run(ask(gateway, chat() | {"messages": [{"role": "user", "content": text}]}))


class Shell:
    """Runs commands in this process, with this config."""

    def __init__(self, config: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self._capsys = capsys
        monkeypatch.setenv("TOLLWATCH_CONFIG", str(config))

    def __call__(self, *arguments: str) -> tuple[int, str, str]:
        self._capsys.readouterr()
        code = cli.main(arguments)
        said = self._capsys.readouterr()
        return code, said.out, said.err

    def rules(self) -> dict[str, Any]:
        return {row["id"]: row for row in map(json.loads, self("rules", "ls", "--json")[1].splitlines())}


def test_a_stored_rule_is_in_force_at_once_and_counted_and_kept_when_the_gateway_ends(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rule_file = tmp_path / "rule.json"
    rule_file.write_text(json.dumps(NO_SECRETS))
    with Provider(tmp_path) as provider, Gateway(tmp_path / "g", provider, config={"rules": [FILE_RULE]}) as gateway:
        shell = Shell(gateway.config_file, capsys, monkeypatch)
        assert call(gateway, f"it is {TOKEN}").status == 200

        added = shell("rules", "add", str(rule_file))
        refused = call(gateway, f"it is {TOKEN}")
        passed = call(gateway, "it is nothing")

        assert added[::2] == (0, "rule SECRETS is in force\n")
        error = json.loads(refused.body)["error"]
        assert (refused.status, passed.status, error["code"]) == (403, 200, "tollwatch_policy")
        assert "GitHub token in message 1." in error["message"]

        shell("rules", "disable", "SECRETS")
        assert call(gateway, f"it is {TOKEN}").status == 200
        shell("rules", "enable", "SECRETS")
        assert call(gateway, f"it is {TOKEN}").status == 403
        code, _, said = shell("rules", "add", str(rule_file))
        assert (code, "There is a rule 'SECRETS' already" in said) == (1, True)
        rule_file.write_text(json.dumps({**NO_SECRETS, "action": "alert"}))
        shell("rules", "add", str(rule_file), "--replace")
        assert call(gateway, f"it is {TOKEN}").status == 200
        for word in ("rm", "disable", "enable"):
            code, _, said = shell("rules", word, "SEC-003")
            assert (code, "'SEC-003' is defined in the config" in said) == (1, True)

        gateway.stop()
        rows = shell.rules()
        assert {rule_id: row["origin"] for rule_id, row in rows.items()} == {"SEC-003": "file", "SECRETS": "store"}
        assert rows["SECRETS"]["last_30_days"] == {"allow": 0, "alert": 1, "block": 2, "unmatched": 1, "passed_over": 0}
        shell("rules", "rm", "SECRETS")
        assert list(shell.rules()) == ["SEC-003"]
        changes = [row["action"] for row in gateway.rows("SELECT action FROM audit WHERE action LIKE 'rule.%' ORDER BY seq")]
        assert changes == [f"rule.{done}" for done in ("created", "disabled", "enabled", "changed", "deleted")]
        assert TOKEN.encode() not in gateway.database.read_bytes() + gateway.log_file.read_bytes()


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    config = tmp_path / "config.yaml"
    users = [{"name": "ada", "department": "engineering"}]
    config.write_text(json.dumps({"data_dir": str(tmp_path / "data"), "rules": [FILE_RULE], "users": users}))
    return Shell(config, capsys, monkeypatch)


def test_without_a_store_the_rules_of_the_config_are_shown(shell: Any) -> None:
    assert "block          0  SEC-003  on     file       0        0  No o3" in shell("rules", "ls")[1]
    assert json.loads(shell("rules", "show", "SEC-003", "--json")[1])["match"] == {"model": "o3*", "timezone": "UTC"}
    assert "title         No o3" in shell("rules", "show", "SEC-003")[1]
    assert shell("rules", "show", "X")[::2] == (1, "tollwatch: There is no rule 'X'; `tollwatch rules ls` shows all\n")


def test_rules_are_added_where_no_gateway_runs(shell: Any, tmp_path: Path) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text(
        "rules:\n"
        "- {id: A, title: a, action: alert, match: {department: eng*}, priority: 7}\n"
        "- {id: B, title: b, action: allow, match: {}, enabled: false}\n"
    )

    code, _, said = shell("rules", "add", str(file))

    assert (code, said) == (0, "rule A is in force\nrule B is stored, and off\n")
    assert [json.loads(row)["id"] for row in shell("rules", "ls", "--json")[1].splitlines()] == ["A", "SEC-003", "B"]
    code, told, _ = shell("rules", "test", "--model", "o3-mini", "--user", "ada")
    assert (code, told.splitlines()[-1]) == (0, "Rule A (a) says alert.")


def test_what_is_wrong_with_a_file_of_rules_is_told_with_its_line(shell: Any, tmp_path: Path) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text("rules:\n- id: A\n  title: a\n  match: {modell: x}\n  action: alert\n")

    assert f"{file}:4: unknown key match.modell; did you mean 'model'?" in shell("rules", "add", str(file))[2]
    file.write_text("rules: []")
    assert "holds no rule" in shell("rules", "add", str(file))[2]
    assert "it is not a file" in shell("rules", "add", str(tmp_path / "none.yaml"))[2]


def test_standard_input_gives_rules_too(shell: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import io  # noqa: PLC0415  # only here

    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps(NO_SECRETS)))
    assert shell("rules", "add", "-")[2] == "rule SECRETS is in force\n"
    monkeypatch.setattr("sys.stdin", io.StringIO("id: A"))
    assert "<stdin>" in shell("rules", "add", "-")[2]


def test_a_call_is_put_to_the_rules_step_by_step(shell: Any, tmp_path: Path) -> None:
    prompt = tmp_path / "prompt.txt"
    prompt.write_text("Say hello.\n")

    code, told, _ = shell("rules", "test", "--model", "o3", "--prompt-file", str(prompt))

    assert code == 4
    assert told.splitlines() == [
        "A chat call to openai, model o3, 9 input tokens, 11 bytes:",
        "  1. SEC-003 (block, priority 0): decides",
        "     yes  model is o3; the rule: 'o3*'",
        "Rule SEC-003 (No o3) says block.",
    ]
    code, told, _ = shell("rules", "test", "--model", "gpt-4o", "--json", "--tokens", "7", "--at", "2026-01-31T22:30")
    answer = json.loads(told)
    assert (code, answer["action"], answer["rule_id"]) == (0, "allow", None)
    assert answer["steps"][0] == {
        "rule_id": "SEC-003",
        "action": "block",
        "priority": 0,
        "outcome": "no match",
        "tests": [{"field": "model", "rule": "'o3*'", "call": "gpt-4o", "held": False}],
    }


@pytest.mark.parametrize(
    ("arguments", "told"),
    [(["--at", "noon"], "--at 'noon' is not a time"), (["--prompt-file", "/nowhere/at/all"], "Cannot read the prompt from /nowhere")],
)
def test_a_call_that_cannot_be_made_of_the_options_says_why(shell: Any, arguments: list[str], told: str) -> None:
    code, _, said = shell("rules", "test", *arguments)

    assert code == 1
    assert told in said


def test_a_stored_rule_that_cannot_be_read_is_told_of_and_removed(shell: Any, tmp_path: Path) -> None:
    shell("users", "lock", "nobody")  # makes the store
    with contextlib.closing(sqlite3.connect(tmp_path / "data" / "tollwatch.db")) as store, store:
        store.execute("INSERT INTO rules VALUES ('OLD', 1, '{\"id\": \"OLD\"}', 1, 'a', 1, 'a')")

    assert "The stored rule 'OLD' cannot be read: " in shell("rules", "ls")[2]
    assert shell("rules", "rm", "OLD")[2] == "rule OLD is removed\n"
    assert shell("rules", "ls")[2] == ""


def test_in_monitor_mode_a_test_says_that_the_call_would_pass(shell: Any, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(json.dumps({"data_dir": str(tmp_path / "data"), "rules": [FILE_RULE], "mode": "monitor"}))

    code, told, _ = shell("rules", "test", "--model", "o3", "--system", "Be nice.", "--tool", "search")

    assert (code, told.splitlines()[-1]) == (4, "The mode is monitor: the call would pass, and the alert would say so.")


def test_rules_are_replaced_and_switched_where_no_gateway_runs(shell: Any, tmp_path: Path) -> None:
    file = tmp_path / "rule.json"
    file.write_text(json.dumps(NO_SECRETS))
    shell("rules", "add", str(file))

    assert shell("rules", "add", str(file), "--replace")[2] == "rule SECRETS is in force\n"
    assert shell("rules", "disable", "SECRETS")[2] == "rule SECRETS is off\n"
    assert shell("rules", "enable", "SECRETS")[2] == "rule SECRETS is on\n"
