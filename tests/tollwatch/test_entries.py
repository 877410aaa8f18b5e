"""`entries ls|show`, beside a store in which entries stand."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from alerting.book import AlertBook
from alerting.entries import EntryBook
from alerting.entry_answers import Answer
from alerting.entry_settings import SHIPPED
from alerting.finding import Action, AlertKind, Finding, Occurrence, Severity, Subject, Taken
from alerting.settings import AlertingSettings
from alerting.silences import SilenceBook
from alerting.suppression import Suppression
from storage.sqlite import SqliteDatabase
from tollwatch import cli
from tollwatch.store import now

type Typed = Callable[..., tuple[int, str, str]]


async def fill(path: Path) -> list[str]:
    """Make three entries, one of each standing; return their ids, the first made first."""
    database = await SqliteDatabase.open(path)
    alerts = AlertBook(database, org_id="org", settings=AlertingSettings(), now=now)
    suppression = Suppression(database, SilenceBook(database, defined=(), now=now), now=now)
    entries = EntryBook(database, alerts, suppression=suppression, line="here", now=now)
    await entries.configs.follow_file(SHIPPED)
    ids: list[str] = []
    for agent, answer in (("a", None), ("b", Answer.ACKNOWLEDGE), ("c", Answer.DISMISS)):
        finding = Finding(
            kind=AlertKind.PROMPT_DRIFT,
            action=Action.ALERT,
            severity=Severity.CRITICAL,
            title="t",
            message="m",
            episode=(agent,),
            subject=Subject(service="openai", agent=agent, endpoint="chat"),
        )
        call_id = "still-running" if agent == "a" else None
        await alerts.record([Occurrence(finding=finding, taken=Taken.ALERTED, at=now(), call_id=call_id)])
        await entries.follow()
        [*_, (made,)] = await database.read("SELECT id FROM entries ORDER BY created_at")
        ids.append(str(made))
        if answer:
            await entries.answer(ids[-1], answer, actor="p")
    await database.close()
    return ids


@pytest.fixture
def typed(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Typed:
    """Return what runs a command here, where no gateway runs."""
    config = tmp_path / "config.yaml"
    config.write_text(json.dumps({"data_dir": str(tmp_path / "data")}))
    monkeypatch.setenv("TOLLWATCH_CONFIG", str(config))

    def run(*arguments: str) -> tuple[int, str, str]:
        code = cli.main(arguments)
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


@pytest.fixture
def ids(tmp_path: Path) -> list[str]:
    (tmp_path / "data").mkdir()
    return asyncio.run(fill(tmp_path / "data" / "tollwatch.db"))


def test_entries_are_listed_newest_first(typed: Typed, ids: list[str]) -> None:
    table = [line.split() for line in typed("entries", "ls")[1].splitlines()]
    plain = [json.loads(line) for line in typed("entries", "ls", "--json", "--limit", "2")[1].splitlines()]

    assert table[0] == ["CREATED", "TITLE", "PLACE", "EVENTS", "LABELS", "STANDS", "ID"]
    assert [row[2:] for row in table[1:]] == [
        ["Security", "openai/c/chat", "1", "prompt_drift", "dismissed", ids[2]],
        ["Security", "openai/b/chat", "1", "prompt_drift", "acknowledged", ids[1]],
        ["Security", "openai/a/chat", "1", "prompt_drift", "open", ids[0]],
    ]
    assert [one["id"] for one in plain] == [ids[2], ids[1]]


def test_one_entry_is_shown_with_its_events(typed: Typed, ids: list[str]) -> None:
    told = typed("entries", "show", ids[0])[1]
    plain = json.loads(typed("entries", "show", ids[0], "--json")[1])

    assert "openai/a/chat (a: chat of openai)" in told
    assert plain["events"][0]["event_id"] in told
    assert told.splitlines()[-1].split()[3:5] == ["-", "0.000"]
    assert (plain["id"], plain["acknowledged_at"]) == (ids[0], None)


def test_an_unknown_entry_and_a_missing_store_are_said(typed: Typed, ids: list[str], tmp_path: Path) -> None:
    unknown = typed("entries", "show", "none")
    (tmp_path / "data" / "tollwatch.db").rename(tmp_path / "elsewhere.db")
    missing = typed("entries", "ls")

    assert (unknown[0], unknown[2]) == (1, "tollwatch: There is no entry 'none'; `tollwatch entries ls` shows them\n")
    assert missing[0] == 1
    assert "There is no database" in missing[2]
    assert len(ids) == 3
