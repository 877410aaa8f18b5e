"""Bedrock at the base-URL door: API keys pass, signatures cannot."""

from typing import Any

import orjson
import pytest

from alerting.finding import Action
from alerting.rule_settings import Match, RuleSettings
from tests.support.client import Connection, Response

SIGNED = "AWS4-HMAC-SHA256 Credential=AKID/20260101/eu-west-1/bedrock/aws4_request, SignedHeaders=host;x-amz-date, Signature=00"
HELLO = orjson.dumps({"messages": [{"role": "user", "content": [{"text": "What is the toll?"}]}]})


async def ask(house: Any, target: str, authorization: str | None) -> Response:
    headers = [("host", "localhost"), ("content-type", "application/json")]
    if authorization:
        headers.append(("authorization", authorization))
    async with await Connection.to(house.base_url) as connection:
        return await connection.request("POST", target, headers=headers, pieces=[HELLO])


@pytest.mark.parametrize(
    ("target", "authorization"),
    [
        ("/bedrock/model/m/converse", SIGNED),
        ("/bedrock/eu-west-1/model/m/converse-stream", SIGNED),
        ("/bedrock-mantle/v1/responses", SIGNED),
        ("/bedrock/model/m/invoke", SIGNED.replace("AWS4-HMAC", "AWS4-ECDSA-P256")),
        ("/bedrock/model/m/invoke?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=00", None),
    ],
)
async def test_a_signed_request_is_told_to_use_the_forward_door(house: Any, target: str, authorization: str | None) -> None:
    response = await ask(house, target, authorization)

    assert response.status == 400
    said = orjson.loads(response.body)
    assert "forward door" in (said.get("message") or said["error"]["message"])
    if not target.startswith("/bedrock-mantle"):
        assert response.headers["x-amzn-errortype"] == "ValidationException"
    assert house.provider.connections == 0
    assert not await house.rows()


async def test_an_api_key_passes(open_house: Any, provider: Any) -> None:
    house = await open_house(proxy={"upstreams": {"bedrock": f"http://{provider.address}"}})

    await ask(house, "/bedrock/model/us.amazon.nova-lite-v1%3A0/converse", "Bearer key")

    (seen,) = provider.seen
    assert seen.target == "/model/us.amazon.nova-lite-v1%3A0/converse"
    assert seen.headers["authorization"] == "Bearer key"
    row = await house.row()
    assert (row.provider, row.request_model, row.wire_format) == ("aws.bedrock", "us.amazon.nova-lite-v1:0", "bedrock.converse")


async def test_a_signed_request_passes_to_a_gateway_of_ones_own(open_house: Any, provider: Any) -> None:
    house = await open_house(proxy={"upstreams": {"bedrock": f"http://{provider.address}"}})

    await ask(house, "/bedrock/model/m/converse", SIGNED)

    assert [seen.headers["authorization"] for seen in provider.seen] == [SIGNED]


@pytest.mark.parametrize(
    "target", ["/bedrock/openai/v1/chat/completions", "/bedrock/anthropic/v1/messages", "/gemini/v1beta/openai/chat/completions"]
)
async def test_a_refusal_has_the_shape_of_the_api_that_was_called(open_house: Any, target: str) -> None:
    house = await open_house(rules=[RuleSettings(id="SEC-1", title="None of these", match=Match(model="m"), action=Action.BLOCK)])
    body = orjson.dumps({"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]})

    async with await Connection.to(house.base_url) as connection:
        response = await connection.request("POST", target, headers=[("host", "localhost")], pieces=[body])

    said = orjson.loads(response.body)
    assert (response.status, said["error"]["type"]) == (403, "permission_error")
    assert ("request_id" in said) == target.endswith("/messages")
    assert "x-amzn-errortype" not in response.headers
