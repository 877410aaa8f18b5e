"""The line of a call says what its row in the ledger says."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from alerting.finding import Action, Refusal, Verdict
from metering.call import Call, Caller, Consumption, Door, Ending, Endpoint, Reply
from metering.reading import Reading, Source
from metering.usage import Usage
from tollwatch.callline import CallLine

AT = datetime(2026, 1, 31, 10, 0, tzinfo=UTC)
CALL = Call(
    id="019a",
    started_at=AT,
    door=Door.FORWARD,
    provider="openai",
    service="openai",
    operation="chat",
    endpoint=Endpoint.CHAT,
    wire_format="openai.chat",
    consumption=Consumption.METERED,
    method="POST",
    host="api.openai.com",
    path="/v1/chat/completions",
    model="gpt-4o",
    streamed=False,
    caller=Caller(user="dev"),
    request_bytes=100,
)


def line_of(verdict: Verdict, ending: Ending, reply: Reply | None = None, reading: Reading | None = None) -> Mapping[str, Any]:
    lines: list[Mapping[str, Any]] = []
    CallLine(lines.append)(CALL, verdict, ending, reply, reading)
    return lines[0]


@pytest.mark.parametrize(
    ("refusal", "status"), [(Refusal.POLICY, 403), (Refusal.BUDGET, 402), (Refusal.RATE_LIMIT, 429), (Refusal.TOO_LARGE, 413)]
)
def test_a_refused_call_has_the_status_that_it_was_answered_with_and_cost_nothing(refusal: Refusal, status: int) -> None:
    line = line_of(Verdict(action=Action.BLOCK, refusal=refusal, rule_id="R"), Ending.REFUSED)

    assert (line["status"], line["cost_usd"], line["source"], line["rule"]) == (status, "0", "none", "R")


def test_a_call_that_ended_has_its_numbers() -> None:
    ended = AT + timedelta(milliseconds=250)
    reply = Reply(ending=Ending.COMPLETED, status=200, first_byte_at=ended, ended_at=ended, response_bytes=9)
    reading = Reading(source=Source.PROVIDER_REPORTED, usage=Usage(input_tokens=12, output_tokens=5), cost_nano=1_500)

    line = line_of(Verdict(action=Action.ALLOW), Ending.COMPLETED, reply, reading)

    shown = {name: line[name] for name in ("status", "milliseconds", "input_tokens", "output_tokens", "cost_usd", "user")}
    assert shown == {"status": 200, "milliseconds": 250.0, "input_tokens": 12, "output_tokens": 5, "cost_usd": "0.0000015", "user": "dev"}


def test_a_call_that_failed_before_it_was_sent_has_no_status() -> None:
    assert line_of(Verdict(action=Action.ALLOW), Ending.FAILED)["status"] is None
