"""`reconcile` and `spend` over a ledger whose gateway does not run."""

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from metering.call import Call, Caller, Consumption, Door, Ending, Endpoint, Reply
from metering.ledger import Intent, Ledger, Settlement
from metering.reading import Reading, Source
from metering.usage import Usage
from storage.ids import uuid7
from storage.sqlite import SqliteDatabase
from tollwatch import cli

_AT = datetime(2026, 11, 1, 12, tzinfo=UTC)
_REPORTED = Reading(
    source=Source.PROVIDER_REPORTED, model="gpt-4o-2024-08-06", usage=Usage(input_tokens=100, output_tokens=10), cost_nano=350_000
)
_BROKEN = Reading(
    source=Source.ESTIMATED,
    model="gpt-4o-2024-08-06",
    usage=Usage(input_tokens=100, output_tokens=5),
    cost_nano=300_000,
    floor_nano=200_000,
    ceiling_nano=5_000_000,
)
_FOREIGN = Reading(source=Source.PROVIDER_REPORTED, model="=HYPERLINK()", usage=Usage(input_tokens=1, output_tokens=1), cost_nano=1)

type Shell = Callable[..., tuple[int, str, str]]


def _call(number: int) -> Call:
    at = _AT + timedelta(minutes=number)
    return Call(
        id=str(uuid7(at)),
        started_at=at,
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
        caller=Caller(),
        request_bytes=10,
    )


async def _fill(path: Path) -> list[str]:
    database = await SqliteDatabase.open(path)
    try:
        ledger = Ledger(database, instance="here", now=lambda: _AT, on_settled=lambda _settled: None)
        calls = [_call(number) for number in range(3)]
        for call, reading in zip(calls, (_REPORTED, _BROKEN, _FOREIGN), strict=True):
            await ledger.admit(Intent(call=call, verdict="allow", hold_nano=5_000_000))
            reply = Reply(ending=Ending.COMPLETED, status=200, first_byte_at=_AT, ended_at=_AT, response_bytes=1)
            ledger.settle(Settlement(call, reply, reading))
        await ledger.drain()
        return [call.id for call in calls]
    finally:
        await database.close()


@pytest.fixture
def ids(tmp_path: Path) -> list[str]:
    tmp_path.chmod(0o700)
    return asyncio.run(_fill(tmp_path / "tollwatch.db"))


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Shell:
    config = tmp_path / "config.yaml"
    config.write_text(f"version: 1\ndata_dir: {tmp_path}\n")

    def run(*arguments: str) -> tuple[int, str, str]:
        code = cli.main([*arguments, "--config", str(config)])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def _report(path: Path, *lines: str) -> str:
    file = path / "report.csv"
    file.write_text("\n".join(("date,model,cost_usd", *lines)) + "\n")
    return str(file)


def test_a_bill_inside_our_interval_is_no_difference(tmp_path: Path, ids: list[str], shell: Shell) -> None:
    report = _report(tmp_path, "2026-11-01,gpt-4o,0.0045", "2026-11-01,=HYPERLINK(),0.000000001")

    code, out, _ = shell("reconcile", report)
    _, lines, _ = shell("reconcile", report, "--json")

    assert (code, out.splitlines()[-1]) == (0, "2 groups, all within the tolerance")
    equal, within = map(json.loads, lines.splitlines())
    assert (equal["agreement"], within["agreement"], within["call_ids"]) == ("equal", "within", [ids[1]])
    assert within["ours"] | {} == {
        "calls": 2,
        "input_tokens": 200,
        "output_tokens": 15,
        "cost_usd": "0.00065",
        "cost_floor_usd": "0.00055",
        "cost_ceiling_usd": "0.00535",
    }
    assert f"calls whose cost is not certain: {ids[1]}" in out


def test_what_one_side_alone_knows_is_said(tmp_path: Path, ids: list[str], shell: Shell) -> None:
    report = _report(tmp_path, "2026-11-01,gpt-5,1.00")

    code, out, _ = shell("reconcile", report, "--provider", "openai", "--tolerance", "2%")

    assert code == 1
    assert "only_theirs" in out
    assert f"calls that only we know: {ids[0]}, {ids[1]}" in out
    assert out.splitlines()[-1] == "3 groups, 3 outside the tolerance"
    assert "only_ours" not in shell("reconcile", report, "--provider", "anthropic")[1]


@pytest.mark.parametrize(
    ("arguments", "code", "why"),
    [
        (["missing.csv"], 1, "No such file"),
        (["nothing.csv"], 1, "has no lines"),
        (["odd.csv"], 1, "no column for the day"),
        (["nothing.csv", "--tolerance", "1"], 2, "write for example 1%"),
    ],
)
def test_what_cannot_be_compared_says_why(  # the sentence is the remedy
    tmp_path: Path, ids: list[str], shell: Shell, arguments: list[str], code: int, why: str
) -> None:
    assert ids
    (tmp_path / "nothing.csv").write_text("date,cost_usd\n")
    (tmp_path / "odd.csv").write_text("a,b\n1,2\n")

    found = shell("reconcile", str(tmp_path / arguments[0]), *arguments[1:])

    assert (found[0], why in found[2]) == (code, True)


def test_spend_tells_the_interval_and_makes_no_formula(ids: list[str], shell: Shell) -> None:
    assert ids
    span = ("--since", "2026-11-01T00:00:00Z", "--until", "2026-11-02T00:00:00Z")

    text = shell("spend", *span, "--by", "source")[1]
    table = shell("spend", *span, "--by", "model", "--csv")[1]
    rows = [json.loads(line) for line in shell("spend", *span, "--json")[1].splitlines()]

    assert "$0.0002 and $0.005" in text
    assert text.splitlines()[-1].startswith("$0.000650001 (between $0.000550001 and $0.005350001) from 2026-11-01 00:00")
    assert [line.split(",")[0] for line in table.splitlines()] == ["model", "gpt-4o-2024-08-06", "'=HYPERLINK()"]
    assert [(row["key"], row["cost_floor_usd"], row["cost_ceiling_usd"]) for row in rows] == [("2026-11-01", "0.000550001", "0.005350001")]
    assert shell("spend", "--since", "1h", "--until", "2h")[0] == 2
