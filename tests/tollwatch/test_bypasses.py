"""What would go past the gateway is named, and nothing else."""

from pathlib import Path

import pytest

from tollwatch.bypasses import Machine, bypasses, node_version

DOORS = frozenset({"127.0.0.1:8080", "127.0.0.1:8081"})


def found(folder: Path, *, environ: dict[str, str] | None = None, programs: dict[str, str] | None = None) -> list[str]:
    machine = Machine(environ=environ or {}, folder=folder, find=(programs or {}).get)
    return [bypass.what for bypass in bypasses(machine, doors=DOORS, intercepted=("llm.intra.example",))]


def fake(folder: Path, prints: str) -> str:
    path = folder / "program"
    path.write_text(f"#!/bin/sh\necho '{prints}'\n")
    path.chmod(0o755)
    return str(path)


def test_a_clean_machine_has_none(tmp_path: Path) -> None:
    assert found(tmp_path) == []


@pytest.mark.parametrize(
    ("version", "named"), [("v20.20.2", True), ("v22.20.0", True), ("v22.21.0", False), ("v24.1.0", False), ("?", True)]
)
def test_an_old_node_is_named(tmp_path: Path, version: str, *, named: bool) -> None:
    what = found(tmp_path, programs={"node": fake(tmp_path, version)})

    assert bool(what) is named


def test_a_node_that_does_not_run_has_no_version(tmp_path: Path) -> None:
    assert node_version(str(tmp_path / "none")) is None


@pytest.mark.parametrize("program", ["java", "codex", "dotnet"])
def test_a_program_of_its_own_mind_is_named(tmp_path: Path, program: str) -> None:
    (what,) = found(tmp_path, programs={program: f"/usr/bin/{program}"})

    assert f"/usr/bin/{program}" in what


def test_libraries_are_named(tmp_path: Path) -> None:
    (tmp_path / "node_modules/@aws-sdk/client-bedrock-runtime").mkdir(parents=True)
    (tmp_path / "env/lib/python3.12/site-packages/aiohttp").mkdir(parents=True)

    what = found(tmp_path, environ={"VIRTUAL_ENV": str(tmp_path / "env")})

    assert [words.split()[0] for words in what] == ["@aws-sdk/client-bedrock-runtime", "aiohttp"]


@pytest.mark.parametrize(
    ("value", "named"),
    [
        ("api.openai.com", True),
        (".openai.com", True),
        ("*", True),
        ("*.anthropic.com", True),
        ("localhost,intra.example", False),
        ("ai.com", False),
    ],
)
def test_an_exception_for_a_provider_is_named(tmp_path: Path, value: str, *, named: bool) -> None:
    assert bool(found(tmp_path, environ={"NO_PROXY": value})) is named


@pytest.mark.parametrize(
    ("value", "named"),
    [
        ("http://127.0.0.1:8081/openai/v1", False),
        ("http://localhost:8081/openai/v1", False),
        ("https://api.openai.com/v1", False),
        ("https://llm.intra.example/v1", False),
        ("https://other.example/v1", True),
        ("http://127.0.0.1:11434", True),
        ("127.0.0.1:11434", True),
        ("", False),
    ],
)
def test_a_base_url_past_the_gateway_is_named(tmp_path: Path, value: str, *, named: bool) -> None:
    assert bool(found(tmp_path, environ={"OPENAI_BASE_URL": value})) is named


@pytest.mark.parametrize(("value", "named"), [("http://proxy.corp:3128", True), ("http://dev:-@127.0.0.1:8080", False)])
def test_another_proxy_is_named(tmp_path: Path, value: str, *, named: bool) -> None:
    assert bool(found(tmp_path, environ={"HTTPS_PROXY": value, "https_proxy": value})) is named
