"""A provider and a gateway for each module of faults."""

from collections.abc import Iterator

import pytest

from tests.support.gateway import Gateway
from tests.support.provider import Provider


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provider]:
    with Provider(tmp_path_factory.mktemp("provider")) as provider:
        yield provider


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, provider: Provider, request: pytest.FixtureRequest) -> Iterator[Gateway]:
    with Gateway(tmp_path_factory.mktemp("gateway"), provider, config=getattr(request.module, "CONFIG", {})) as gateway:
        yield gateway


@pytest.fixture(autouse=True)
def _fresh_provider(request: pytest.FixtureRequest) -> None:
    if "provider" in request.fixturenames or "gateway" in request.fixturenames:
        request.getfixturevalue("provider").forget()
