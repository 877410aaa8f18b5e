"""What watches the gateway from outside."""

from typing import Any

import pytest
from aiohttp.test_utils import make_mocked_request

from api.app import ROUTES
from api.authorize import authorize
from api.errors import ApiError
from api.scopes import Scope


async def test_the_process_is_healthy_even_when_the_gateway_is_not_ready(gateway: Any) -> None:
    gateway.board.set(store_writable=False, canary_held=False)

    answer = await gateway.ask("GET", "/healthz")

    assert (answer.status, answer.body) == (200, {"status": "ok"})


async def test_ready(gateway: Any) -> None:
    answer = await gateway.ask("GET", "/readyz")

    assert (answer.status, answer.body) == (200, {"ready": True, "reasons": []})


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"store_writable": False}, "the store cannot be written"),
        ({"canary_held": False}, "the start-up canary was not blocked and recorded"),
        ({"doors": {"forward": None, "base_url": "127.0.0.1:8081"}}, "the forward door does not listen"),
        ({"doors": {"forward": "127.0.0.1:8080", "base_url": None}}, "the base_url door does not listen"),
        ({"problems": ("the clock jumped",)}, "the clock jumped"),
    ],
)
async def test_not_ready_says_why(gateway: Any, change: Any, reason: str) -> None:
    gateway.board.set(**change)

    answer = await gateway.ask("GET", "/readyz")

    assert (answer.status, answer.body) == (503, {"ready": False, "reasons": [reason]})


async def test_metrics_are_prometheus_text(gateway: Any) -> None:
    answer = await gateway.ask("GET", "/metrics")

    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("text/plain; version=")
    assert b"tollwatch_calls_total 3.0" in answer.raw


@pytest.mark.parametrize("remote", ["192.0.2.7", "2001:db8::1", "unknown"])
async def test_metrics_take_a_token_from_beyond_this_machine(gateway: Any, remote: str) -> None:
    (route,) = (route for route in ROUTES if route.path == "/metrics")
    access = gateway.services.access

    with pytest.raises(ApiError) as refused:
        await authorize(make_mocked_request("GET", "/metrics").clone(remote=remote), access, route)

    assert refused.value.status == 401
    headers = {"Authorization": f"Bearer {await gateway.token(Scope.ALERTS_READ)}"}
    allowed = await authorize(make_mocked_request("GET", "/metrics", headers=headers).clone(remote=remote), access, route)
    assert allowed is not None


async def test_metrics_are_openmetrics_where_asked_for(gateway: Any) -> None:
    answer = await gateway.ask("GET", "/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})

    assert answer.headers["Content-Type"].startswith("application/openmetrics-text")
    assert answer.raw.endswith(b"# EOF\n")


async def test_the_index_names_what_is_there(gateway: Any) -> None:
    body = (await gateway.ask("GET", "/")).body

    assert set(body["feeds"]) == {route.feed for route in ROUTES if route.feed}
    assert body["version"] == "0.1.0"
    for path in (*body["feeds"].values(), body["calls"], body["status"], body["spend"], body["description"], body["docs"], *body["health"]):
        assert (await gateway.ask("GET", path)).status != 404
