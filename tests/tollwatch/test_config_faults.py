"""Each fault of a config is one sentence that names the line, the key, the value and the remedy."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tollwatch.config import load_config
from tollwatch.rawconfig import ConfigError

RULE = "- {id: A, title: B, action: block, match: "


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("mode: enfroce", ":1: mode: 'enfroce' is not one of enforce, monitor; did you mean 'enforce'?"),
        ("rulez: []", ":1: unknown key rulez; did you mean 'rules'?"),
        ("mode: enforce\nmode: monitor", ":2: mode stands twice, first on line 1; keep one of the two"),
        ("proxy:\n  lisen: a", ":2: unknown key proxy.lisen; did you mean 'listen'?"),
        ("proxy:\n  upstreams:\n    x: 1", ":3: proxy.upstreams.x: 1 is not text; put it in quotes"),
        (f"rules:\n {RULE}{{modle: gpt}}}}", ":2: unknown key rules.0.match.modle; did you mean 'model'?"),
        (f"rules:\n {RULE}{{model: 5}}}}", ":2: rules.0.match.model: 5 is not text; put it in quotes"),
        (f"rules:\n {RULE}{{model: {{nto: a}}}}}}", ":2: unknown key rules.0.match.model.nto; did you mean 'not'?"),
        ("rules: [{id: A, title: B, match: {}}]", ":1: rules.0.action is missing; add it"),
        ("rules: [{id: A, title: '', match: {}, action: block}]", ":1: rules.0.title: '' is too short; 1 characters are the least"),
        ("budgets: [{name: a, limit: 50}]", ":1: budgets.0.limit: 50 is not a limit: write for example '50 USD' or '2000000 tokens'"),
        ("budgets: [{name: a, limit: 1 USD}, {name: a, limit: 2 USD}]", ":1: budgets: 'a' stands twice; give each its own name"),
        (
            "usage_alerts: [{name: a, type: error_rate, threshold: 101}]",
            ":1: usage_alerts.0: threshold: a threshold of error_rate is per cent",
        ),
        (
            "usage_alerts: [{name: a, type: quota_limit, threshold: 80, budget: all}]",
            "'a' looks at the budget 'all', which is not there: add it under budgets, or leave `budget` out",
        ),
        (
            "budgets: [{name: day, limit: 1 USD}]\nusage_alerts: [{name: a, type: quota_limit, threshold: 80, budget: all}]",
            "which is not there: name one of day, or leave `budget` out",
        ),
        ("notify: {email: {host: a, from: b, to: [c@d.e]}}", ":1: notify.email.from: 'b' is no address: write for example"),
        ("api: {listen: 3100}", ":1: api.listen: 3100 is not text; put it in quotes"),
        ("api: {listen: '3100'}", ":1: api: listen: '3100' is not an address to listen on: write host:port, for example '127.0.0.1:8080'"),
        ("proxy: {listen: '0.0.0.0:8080'}", ":1: proxy.listen: refusing to listen on 0.0.0.0:8080: whoever reaches the gateway may use it"),
        ("proxy: {listen: '127.0.0.1:3100'}", "must differ, but 127.0.0.1:3100 stands for more than one"),
        ("proxy: 5", ":1: proxy: 5 is not a section; write its keys on the lines below, or {key: value}"),
        ("proxy:\n  upstreams:\n    x: ftp://a", ":3: proxy.upstreams.x: 'ftp://a' is no http or https URL of a server; write for example"),
        ("proxy: {upstreams: {x: 'http://a:b@c'}}", ":1: proxy.upstreams.x: 'http://…@c' is no http or https URL"),
        ("proxy: {upstreams: {x: 'http://a:99999'}}", ":1: proxy.upstreams.x: 'http://a:99999' is no http or https URL"),
        ("proxy:\n  resolve:\n    a.example: foo", ":3: proxy.resolve.a.example: 'foo' is no address with a port; write for example"),
        ("proxy: {resolve: {'*': '127.0.0.1:0'}}", ":1: proxy.resolve.*: '127.0.0.1:0' is no address with a port"),
        ("proxy: {upstream_proxy: 'socks5://u:p@a:1'}", ":1: proxy.upstream_proxy: 'socks5://…@a:1' is no proxy; write for example"),
        ("users: [{name: a, last_day: 2026-13-45}]", ":1: users.0.last_day: '2026-13-45' is not a date; write 2026-12-31"),
        ("version: !!int x", ":1: version: 'x' is not one of 1"),
        ("version: !!python/name:os.system x", ":1: not valid YAML: could not determine a constructor"),
        ("rules: 5", ":1: rules: 5 is not a list; write [a, b] or lines that begin with '- '"),
        ("detectors: {prompt_size: {max_tokens: 0}}", ":1: detectors.prompt_size.max_tokens: 0 is too small; at least 1"),
        ("detectors: {prompt_size: {max_tokens: many}}", ":1: detectors.prompt_size.max_tokens: 'many' is not a whole number"),
        ("detectors: {prompt_drift: {enabled: perhaps}}", ":1: detectors.prompt_drift.enabled: 'perhaps' is neither true nor false"),
        ("detectors: {rate_limits: [{}]}", ":1: detectors.rate_limits.0: a rate limit needs `requests` or `tokens`"),
        ("alerting: {retention_days: 9999}", ":1: alerting.retention_days: 9999 is too large; at most 3650"),
        ("organization: {id: acme}", ":1: organization.id: 'acme' is not a UUID"),
        ("users: [{name: a, last_day: soon}]", ":1: users.0.last_day: 'soon' is not a date; write 2026-12-31"),
        ("storage: {url: 'oracle://a'}", "storage.url oracle://… is not supported"),
        ("a: [", ":1: not valid YAML"),
        ("- a", ":1: a config file holds `key: value` lines"),
        ("? [a]\n: b", ":1: a key is plain text, not a list or a mapping"),
        ("version: 2", ":1: version: 2 is not one of 1"),
        ("log: {level: '${env:NO_SUCH}'}", ":1: log.level names the variable NO_SUCH, which is not set"),
        ("log: {level: '${file:/no/such}'}", ":1: log.level names the file /no/such, which cannot be read"),
    ],
)
def test_a_fault_is_one_sentence_with_its_place(text: str, sentence: str, write_config: Callable[[str], Path]) -> None:
    path = write_config(text)

    with pytest.raises(ConfigError) as caught:
        load_config(path, {})

    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "pydantic" not in str(caught.value)
    assert str(path) in str(caught.value) or text.startswith("storage")


def test_all_faults_are_told_in_the_order_of_the_file(write_config: Callable[[str], Path]) -> None:
    path = write_config("mode: off\nlog: {level: loud}\napi: {tls: maybe}\n")

    with pytest.raises(ConfigError) as caught:
        load_config(path, {})

    assert [line.split(": ")[0].rpartition(":")[2] for line in str(caught.value).splitlines()] == ["1", "2", "3"]


@pytest.mark.parametrize(
    "text",
    [
        "organization: {id: '${env:SECRET}'}",
        "budgets: [{name: a, limit: '${env:SECRET}'}]",
        "api: {listen: '${env:SECRET}'}",
        "proxy: {upstream_proxy: 'socks5://${env:SECRET}'}",
    ],
)
def test_a_value_from_a_reference_is_never_shown(text: str, write_config: Callable[[str], Path]) -> None:
    path = write_config(text)

    with pytest.raises(ConfigError) as caught:
        load_config(path, {"SECRET": "hunter2-hunter2"})

    assert "hunter2" not in str(caught.value)
    assert "${env:SECRET}" in str(caught.value)


def test_a_variable_overrides_the_file(write_config: Callable[[str], Path]) -> None:
    path = write_config("mode: enforce\nproxy: {unknown_hosts: refuse}")

    config = load_config(path, {"TOLLWATCH_MODE": "monitor", "TOLLWATCH_PROXY__LISTEN": "127.0.0.1:9"})

    assert (config.mode, config.proxy.listen, config.proxy.unknown_hosts) == ("monitor", "127.0.0.1:9", "refuse")


def test_a_fault_in_a_variable_names_the_variable() -> None:
    with pytest.raises(ConfigError, match=r"variable TOLLWATCH_PROXY__LISTN: unknown key proxy.listn; did you mean 'listen'"):
        load_config(None, {"TOLLWATCH_PROXY__LISTN": "a: ["})


def test_references_are_put_in(write_config: Callable[[str], Path], tmp_path: Path) -> None:
    (tmp_path / "name").write_text("Acme\n", encoding="utf-8")
    path = write_config(f"organization: {{name: '${{file:{tmp_path / 'name'}}}'}}\nlog: {{level: '${{env:LEVEL}}'}}")

    config = load_config(path, {"LEVEL": "debug"})

    assert (config.organization.name, config.log.level) == ("Acme", "debug")


def test_the_named_file_must_exist(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="named by --config, is not a file"):
        load_config(tmp_path / "none.yaml", {})


def test_the_file_is_looked_for_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, here = tmp_path / "home", tmp_path / "here"
    (home / "tollwatch").mkdir(parents=True)
    here.mkdir()
    monkeypatch.chdir(here)
    environ = {"XDG_CONFIG_HOME": str(home)}
    found = [load_config(None, environ).organization.name]

    for place, name in ((home / "tollwatch" / "config.yaml", "user"), (here / "config.yaml", "here"), (tmp_path / "other.yaml", "named")):
        place.write_text(f"organization: {{name: {name}}}", encoding="utf-8")
        found.append(load_config(None, environ).organization.name)
    found.append(load_config(None, {**environ, "TOLLWATCH_CONFIG": str(tmp_path / "other.yaml")}).organization.name)

    assert found == ["local", "user", "here", "here", "named"]


def test_an_unreadable_file_is_said_so(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes(b"\xff\xfe")

    with pytest.raises(ConfigError, match=r"Cannot read .*config.yaml: .*Make it a readable UTF-8 file"):
        load_config(path, {})
