"""The line of a call says what its row in the ledger says."""

import asyncio
import io
import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, override

import pytest
import structlog

from alerting.finding import Action, Refusal, Verdict
from metering.call import Call, Caller, Consumption, Door, Ending, Endpoint, Reply
from metering.reading import Reading, Source
from metering.usage import Usage
from tests.support.terminal import HOSTILE, Terminal
from tollwatch.callline import CallLine, call_lines
from tollwatch.config import LogSettings
from tollwatch.log import configure

pytestmark = pytest.mark.usefixtures("logging_restored")

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
    CallLine(lines.extend)(CALL, verdict, ending, reply, reading)
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


def ended(to: CallLine | None, call: Call = CALL, **told: Any) -> None:
    assert to is not None
    reply = Reply(ending=Ending.COMPLETED, status=200, first_byte_at=AT, ended_at=AT, response_bytes=9)
    to(call, Verdict(action=Action.ALLOW), Ending.COMPLETED, reply, Reading(source=Source.PROVIDER_REPORTED, **told))


async def written(*models: str) -> Sequence[str]:
    stream = io.StringIO()
    lines = call_lines(LogSettings(format="json"), stream)
    for model in models:
        ended(lines, model=model)
    assert stream.getvalue() == ""

    assert lines is not None
    lines.flush()

    return stream.getvalue().splitlines(keepends=True)


@pytest.mark.parametrize("text", HOSTILE)
async def test_a_hostile_name_is_one_clean_json_line(text: str) -> None:
    (line,) = await written(text)

    assert json.loads(line)["event"] == "call"
    assert line[:-1].isprintable()


async def test_a_name_that_is_no_text_keeps_no_other_line_from_being_written() -> None:
    first, odd, last = await written("a", "odd \udc80", "b")

    assert [json.loads(line)["model"] for line in (first, odd, last)] == ["a", "odd ?", "b"]


async def test_lines_of_calls_that_end_together_are_one_write() -> None:
    class Stream(io.StringIO):
        writes = 0

        @override
        def write(self, s: str, /) -> int:
            self.writes += 1
            told.set()
            return super().write(s)

    stream, told = Stream(), asyncio.Event()
    lines = call_lines(LogSettings(format="json"), stream)

    ended(lines, model="a")
    ended(lines, model="b")
    await asyncio.wait_for(told.wait(), 10)

    assert stream.writes == 1
    assert [json.loads(text)["model"] for text in stream.getvalue().splitlines()] == ["a", "b"]


async def test_moments_are_written_the_same_in_every_line() -> None:
    stream = io.StringIO()
    configure(LogSettings(format="json"), stream)

    structlog.get_logger("test").info("event")
    lines = [*stream.getvalue().splitlines(), *await written("m")]

    shapes = [re.sub("[0-9]", "0", json.loads(line)["timestamp"]) for line in lines]
    assert shapes == ["0000-00-00T00:00:00.000000Z"] * 2


def test_on_a_terminal_a_call_goes_the_way_of_all_lines_at_once_without_what_is_not_known() -> None:
    stream = Terminal()
    configure(LogSettings(), stream, {"NO_COLOR": "1"})

    ended(call_lines(LogSettings(), stream), model="m")

    (line,) = stream.getvalue().splitlines()
    assert re.search(r"\[info +\] call +call=019a .*model=m .*verdict=allow ", line)
    assert "cost_usd" not in line


def test_calls_are_no_warnings() -> None:
    assert call_lines(LogSettings(level="warning")) is None
