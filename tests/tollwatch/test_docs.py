"""The documents name what there is, and what they tell to type works."""

import argparse
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from alerting.entry_settings import SHIPPED
from alerting.finding import AlertKind
from api.app import ROUTES
from tests.support.gateway import ROOT, Gateway
from tollwatch import cli, environment
from tollwatch.config import Config
from tollwatch.configerrors import section_keys
from tollwatch.rawconfig import dotted

PAGES = sorted((*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")))
TOUR = "## Five minutes"


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def shell_lines(markdown: str) -> list[str]:
    blocks = re.findall(r"```sh\n(.*?)```", markdown, re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.strip()]


def leaves(parser: argparse.ArgumentParser, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    groups = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]  # noqa: SLF001  # argparse tells it no other way
    if not groups:
        yield path
    for group in groups:
        for name, child in group.choices.items():
            yield from leaves(child, (*path, name))


def test_each_command_stands_in_its_page() -> None:
    page = text("docs/cli.md")

    assert [" ".join(path) for path in leaves(cli.parser()) if f"`tollwatch {' '.join(path)}" not in page] == []


def test_each_alert_kind_stands_in_its_page() -> None:
    page = text("docs/alerts.md")

    assert [kind for kind in AlertKind if f"| `{kind}` |" not in page] == []


def test_each_shipped_config_of_entries_stands_in_its_page_with_its_labels() -> None:
    page = text("docs/alerts.md")

    for one in SHIPPED:
        labels = ", ".join(f"`{label}`" for label in one.labels)
        assert f"| {one.title} | {labels} | {one.time_window_seconds:,} s | {one.min_events} |" in page


def test_each_route_stands_in_its_page() -> None:
    page = text("docs/api.md")

    told = {f"{route.method} {re.sub(r':[^/}]+', '', route.path)}" for route in ROUTES}
    assert [one for one in sorted(told) if f"| `{one}` |" not in page] == []


def test_each_config_key_stands_in_its_page() -> None:
    page = text("docs/configuration.md")
    together = {"match", "scope"}

    keys = [path for path in section_keys(Config) if not together & set(map(str, path[:-1]))]
    assert [dotted(path) for path in keys if f"| `{dotted(path)}` |" not in page] == []


def test_each_variable_stands_in_its_page() -> None:
    page = text("docs/clients.md")
    names = {*environment.PROXIES, *environment.REPLACING, *environment.ADDING, "NO_PROXY", "no_proxy", "NODE_USE_ENV_PROXY"}

    assert [name for name in sorted(names) if f"`{name}`" not in page] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_link_leads_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8"))

    assert [target for target in targets if "://" not in target and not (page.parent / target).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_command_that_is_told_parses(page: Path) -> None:
    for line in shell_lines(page.read_text(encoding="utf-8")):
        words = shlex.split(line, comments=True)
        if words and Path(words[0]).name == "tollwatch":
            head = words[1 : words.index("--")] if "--" in words else words[1:]
            cli.parser().parse_args(head)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_make_target_that_is_told_exists(page: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):.*##", text("Makefile"), re.MULTILINE))

    told = set(re.findall(r"^make ([a-z]+)", "\n".join(shell_lines(page.read_text(encoding="utf-8"))), re.MULTILINE))
    assert told <= targets


def test_the_tour_has_less_than_ten_commands() -> None:
    tour = text("README.md").partition(TOUR)[2].partition("\n## ")[0]

    assert 4 < len(shell_lines(tour)) < 10


def test_the_tour_gets_to_a_blocked_call_and_its_alert(tmp_path: Path) -> None:
    tour = text("README.md").partition(TOUR)[2].partition("\n## ")[0]
    lines = [line for line in shell_lines(tour) if not line.startswith(("git ", "cd ", "cp ", "make "))]
    gateway = Gateway(tmp_path, fresh=True)
    gateway.config_file.write_text(text("config.example.yaml"))
    gateway.env |= {
        "TOLLWATCH_CONFIG": str(gateway.config_file),
        "TOLLWATCH_DATA_DIR": str(gateway.data_dir),
        "TOLLWATCH_PROXY__LISTEN": gateway.forward,
        "TOLLWATCH_PROXY__BASE_URL_LISTEN": gateway.base,
        "TOLLWATCH_API__LISTEN": gateway.api,
    }

    with gateway:
        said = [_typed(line, gateway) for line in lines]

    refused, alerts, calls, feed = said
    assert json.loads(refused)["error"]["code"] == "tollwatch_policy"
    assert "SEC-003" in alerts
    assert "gpt-4o" in calls
    assert [alert["type"] for alert in json.loads(feed)["alerts"]] == ["high_severity_denied_action"]


def test_the_lines_of_the_api_page_work(tmp_path: Path) -> None:
    lines = shell_lines(text("docs/api.md"))
    body = json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": "hello"}]})
    refused = f"curl -s https://api.openai.com/v1/chat/completions -H 'content-type: application/json' -d '{body}'"
    rule = {"id": "SEC-003", "title": "No GPT-4", "match": {"model": "gpt-4*"}, "action": "block", "severity": "high"}

    with Gateway(tmp_path, config={"rules": [rule]}) as gateway:
        gateway.env["TOLLWATCH_CONFIG"] = str(gateway.config_file)
        _typed(f".venv/bin/tollwatch exec -- {refused}", gateway)
        script = [f"{line} -w '\\n%{{stderr}}%{{http_code}}\\n'" if line.startswith("curl ") else line for line in lines]
        done = _run("set -e\n" + "\n".join(script), gateway)

    asked = [line for line in lines if line.startswith("curl ")]
    statuses = [word for word in done.stderr.split() if word.isdecimal()]
    assert list(zip(asked, statuses, strict=True)) == [(line, "200") for line in asked]
    assert '"type":"high_severity_denied_action"' in done.stdout
    plain = {route.path for route in ROUTES if "{" not in route.path}
    assert {path for path in plain if path not in "\n".join(asked)} == {"/api/auth/logout", "/api/stream", "/docs.css"}


def _run(script: str, gateway: Gateway) -> subprocess.CompletedProcess[str]:
    script = script.replace(".venv/bin/tollwatch", f"{sys.executable} -m tollwatch").replace(
        "~/.local/state/tollwatch", str(gateway.data_dir)
    )
    script = script.replace("127.0.0.1:3100", gateway.api).replace("localhost:3100", gateway.api.replace("127.0.0.1", "localhost"))
    return subprocess.run(["bash", "-c", script], cwd=ROOT, env=gateway.env, capture_output=True, text=True, timeout=120, check=True)


def _typed(line: str, gateway: Gateway) -> str:
    return _run(line, gateway).stdout
