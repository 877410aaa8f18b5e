"""The selftest: what it says of a config, and that nothing of it is sent or kept."""

import json
from pathlib import Path

import pytest

from alerting.finding import Action
from alerting.rule_settings import Match, RuleSettings
from tests.support.gateway import Gateway
from tests.support.provider import Provider
from tollwatch.cli import main
from tollwatch.config import Config
from tollwatch.selftest import InForce, run
from tollwatch.tricks import tricks

UNREAD = {"unread-endpoints-030", "unread-endpoints-031"}
EVERYTHING = RuleSettings(id="friends", title="All is allowed", match=Match(), action=Action.ALLOW, priority=9)


def config(**proxy: object) -> Config:
    return Config.model_validate({"version": 1, "proxy": proxy})


async def test_formats_that_are_not_read_are_missed_where_they_may_pass() -> None:
    passing = await run(InForce(config=config(), rules=(), mode="enforce"), tricks())
    refusing = await run(InForce(config=config(unknown_formats="refuse"), rules=(), mode="enforce"), tricks())

    assert {outcome.trick.id for outcome in passing if not outcome.caught} == UNREAD
    assert all("proxy.unknown_formats is 'pass'" in outcome.why for outcome in passing if not outcome.caught)
    assert [outcome for outcome in refusing if not outcome.caught] == []


@pytest.mark.untraced
async def test_a_rule_that_allows_everything_is_named_for_what_it_lets_pass() -> None:
    outcomes = await run(InForce(config=config(), rules=[EVERYTHING], mode="enforce"), tricks())

    missed = [outcome for outcome in outcomes if not outcome.caught and outcome.trick.id not in UNREAD]
    assert {outcome.trick.about for outcome in missed} == {"model", "prompt", "tool"}
    unread = "The format is not read, and proxy.unknown_formats is 'pass'."
    assert {outcome.why for outcome in missed} == {"Rule friends (All is allowed) says allow.", unread}


@pytest.mark.untraced
async def test_what_no_rule_can_see_is_refused_whatever_the_rules_are() -> None:
    outcomes = await run(InForce(config=config(), rules=[EVERYTHING], mode="enforce"), tricks())

    assert all(outcome.caught for outcome in outcomes if outcome.trick.about in {"limit", "destination"})


async def test_a_small_body_limit_catches_before_anything_is_read() -> None:
    outcomes = await run(InForce(config=config(body_limits={"json": "1 KiB"}), rules=(), mode="enforce"), tricks())

    assert any(outcome.why.startswith("too_large: The request body is larger than 1,024 bytes") for outcome in outcomes)


@pytest.mark.untraced
async def test_a_host_of_ones_own_and_a_replaced_prefix_are_judged_as_the_doors_judge_them() -> None:
    own = config(intercept_hosts=["foreign.example"], upstreams={"openai": "http://127.0.0.1:9"}, unknown_formats="refuse")

    outcomes = await run(InForce(config=own, rules=(), mode="enforce"), tricks())

    assert [outcome.trick.id for outcome in outcomes if not outcome.caught] == []


def test_without_a_gateway_the_config_file_is_judged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(f"version: 1\ndata_dir: {tmp_path / 'data'}\nmode: monitor\nproxy: {{unknown_formats: refuse}}\n")

    code = main(["selftest", "--config", str(file)])

    shown = capsys.readouterr()
    assert code == 0
    assert shown.out.startswith("KIND ")
    assert "against the rules of the config file (no gateway runs)" in shown.out
    assert "0 missed" in shown.out
    assert "the mode is monitor" in shown.err


def test_the_rules_of_the_running_gateway_are_judged_and_nothing_is_sent_or_recorded(tmp_path: Path) -> None:
    rules = [json.loads(EVERYTHING.model_dump_json(by_alias=True, exclude_none=True))]
    with Provider(tmp_path) as provider, Gateway(tmp_path / "gateway", provider, config={"rules": rules}) as gateway:
        gateway.config_file.write_text(gateway.config_file.read_text().replace("friends", "changed-since"))
        done = gateway.command("selftest", "--json", check=False)

        said = json.loads(done.stdout)
        assert done.returncode == 3
        assert (said["source"], said["mode"], said["tried"]) == ("the running gateway", "enforce", len(list(tricks())))
        assert said["tried"] - said["caught"] == len(said["missed"])
        assert "Rule friends (All is allowed) says allow." in {missed["why"] for missed in said["missed"]}
        assert provider.connections == 0
        assert gateway.alerts() == []
        assert "selftest" not in gateway.command("calls", "ls", "--json").stdout
