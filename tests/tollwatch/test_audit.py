"""`tollwatch audit`: who changed what, as a table and as JSON; what a reload leaves in it."""

import getpass
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.tollwatch.test_cli import Shell
from tollwatch.config import Config
from tollwatch.reload import changed_keys
from tollwatch.reload_audit import changes


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Shell:
    config = tmp_path / "config.yaml"
    config.write_text(json.dumps({"data_dir": str(tmp_path / "data")}))
    return Shell(SimpleNamespace(config_file=config), capsys, monkeypatch)


def test_each_change_is_told_newest_first(shell: Shell) -> None:
    assert "no database" in shell("audit")[2].lower()
    shell("token", "create", "--name", "siem", "--scope", "alerts:read")
    shell("users", "lock", "ada", "--reason", "laptop stolen")
    shell("users", "unlock", "ada")
    shell("token", "revoke", "siem")

    code, out, _ = shell("audit")
    told = [json.loads(line) for line in shell("audit", "--json")[1].splitlines()]

    assert code == 0
    assert out.splitlines()[0].split() == ["WHEN", "WHO", "WHAT", "OF", "DETAIL"]
    me = f"cli:{getpass.getuser()}"
    assert [(row["actor"], row["action"], row["subject"], row["detail"]) for row in told] == [
        (me, "token.revoked", "siem", ""),
        (me, "user.unlocked", "user ada", ""),
        (me, "user.locked", "user ada", "laptop stolen"),
        (me, "token.created", "siem", "scopes alerts:read; expires never"),
    ]
    assert [row["action"] for row in map(json.loads, shell("audit", "--action", "user", "--limit", "1", "--json")[1].splitlines())] == [
        "user.unlocked"
    ]
    assert shell("audit", "--since", "2999-01-01", "--json")[1] == ""
    assert shell("audit", "--actor", "nobody", "--json")[1] == ""
    assert shell("audit", "--since", "yesterday")[0] == 2


def test_a_reload_is_told_by_keys_and_names_without_any_value_but_the_mode() -> None:
    def config(**sections: Any) -> Any:
        return Config.model_validate(sections)

    rule = {"id": "A", "title": "t", "match": {"model": "secret-model"}, "action": "block"}
    budget = {"name": "day", "limit": "5 USD", "period": "day"}
    before = config(mode="monitor", rules=[rule, {**rule, "id": "B"}], users=[{"name": "ada"}])
    after = config(rules=[{**rule, "action": "alert"}, {**rule, "id": "C"}], budgets=[budget], users=[{"name": "ada"}])

    told = changes(before, after, list(changed_keys(before, after)))

    assert json.loads(told) == {
        "changed": ["mode", "budgets", "rules"],
        "mode": ["monitor", "enforce"],
        "rules": {"added": ["C"], "removed": ["B"], "changed": ["A"]},
        "budgets": {"added": ["day"]},
    }
