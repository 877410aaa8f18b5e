"""The commented example is complete, loads, and agrees with the defaults and the docs."""

from pathlib import Path

from tollwatch import rawconfig
from tollwatch.config import Config, load_config
from tollwatch.configerrors import section_keys
from tollwatch.rawconfig import dotted
from tollwatch.reference import explanation, explanations

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "config.example.yaml"
EXPLAINED_TOGETHER = ("match", "scope")
"""Sections whose fields are explained in one comment above them."""


def _together(path: tuple[str | int, ...]) -> bool:
    return any(key in EXPLAINED_TOGETHER for key in path[:-1])


def test_the_example_loads() -> None:
    config = load_config(EXAMPLE, {})

    assert [rule.id for rule in config.rules] == ["SEC-003"]


def test_the_example_has_each_key_of_the_model_with_an_explanation() -> None:
    known = {path for path in section_keys(Config) if not _together(path)}
    shown = {path for path, text in explanations().items() if text}

    assert {dotted(path) for path in known - shown} == set()


def test_the_fields_of_a_scope_and_of_a_match_are_named_above_them() -> None:
    for path in section_keys(Config):
        if _together(path) and path[-1] != "not":
            assert str(path[-1]) in explanation(tuple(map(str, path))), dotted(path)


def test_the_example_has_no_key_that_the_model_does_not_know() -> None:
    known = set(section_keys(Config))

    assert {path for path in explanations() if path not in known and path[:2] != ("proxy", "upstreams")} == set()


def test_the_fast_defaults_are_those_of_the_model() -> None:
    config = Config()

    assert config.proxy.listen == rawconfig.DEFAULT_FORWARD
    assert config.proxy.base_url_listen == rawconfig.DEFAULT_BASE_URL
    assert config.api.listen == rawconfig.DEFAULT_API
