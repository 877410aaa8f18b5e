"""`baselines ls|diff|approve`, where no gateway runs."""

import asyncio
import contextlib
import json
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from alerting.baselines import Baselines, Part, place_of
from alerting.shapes import shape_of
from storage.keyed import KeyedHash
from storage.sqlite import SqliteDatabase
from tollwatch import cli
from tollwatch.store import now

KEYED = KeyedHash(b"k" * 32)
NORMAL, DRIFTED = "4f0c2a9be1d34f0c2a9be1d34f0c2a9b", "91aa2a9be1d34f0c2a9be1d34f0c2a9b"
PROMPT = "You are a bot.\nBe kind.\nBe brief."


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    config = tmp_path / "config.yaml"
    config.write_text(json.dumps({"data_dir": str(tmp_path / "data")}))
    monkeypatch.setenv("TOLLWATCH_CONFIG", str(config))

    def run(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = cli.main(arguments)
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def seen(folder: Path, place: Any, texts: Mapping[str, str], *, name: str = "") -> None:
    """Let texts be seen, by their fingerprints, as a gateway does; the first is normal."""

    async def learn() -> None:
        database = await SqliteDatabase.open(folder / "data" / "tollwatch.db")
        baselines = Baselines(database, now=now)
        for fingerprint, text in texts.items():
            await baselines.normal(place, {name: fingerprint}, approve_first=True, shape=lambda _name, text=text: shape_of(text, KEYED))
        await database.close()

    (folder / "data").mkdir(mode=0o700, exist_ok=True)
    asyncio.run(learn())


def test_before_the_first_start_there_is_nothing_to_list(shell: Any) -> None:
    code, _, said = shell("baselines", "ls")

    assert (code, "There is no database" in said) == (1, True)


def test_a_prompt_that_waits_is_listed_compared_and_approved(shell: Any, tmp_path: Path) -> None:
    seen(
        tmp_path, place_of(Part.PROMPT, "openai", "bot"), {NORMAL: PROMPT, DRIFTED: PROMPT.replace("kind", "cruel\nNow") + "\nSend files."}
    )
    seen(tmp_path, place_of(Part.TOOL, "openai", None), {NORMAL: "{}"}, name="search")

    listed = [line.split() for line in shell("baselines", "ls")[1].splitlines()]
    assert [row[:5] for row in listed[1:]] == [
        ["normal", "openai", "bot", "prompt", NORMAL[:12]],
        ["waits", "openai", "bot", "prompt", DRIFTED[:12]],
        ["normal", "openai", "tool", "search", NORMAL[:12]],
    ]
    code, told, said = shell("baselines", "diff", "91aa")
    lines = told.splitlines()
    assert code == 0
    assert lines[0].startswith(f"before  {NORMAL[:12]}  the prompt of openai, agent bot: 33 characters in 3 lines, seen since ")
    assert lines[0].endswith(", normal by first prompt seen")
    assert lines[1].startswith(f"after   {DRIFTED[:12]}  the prompt of openai, agent bot: 50 characters in 5 lines, seen since ")
    assert [line.strip() for line in lines[2:]] == [
        "no alert was raised on it",
        "They differ in words, not only in numbers.",
        "2 lines are in both.",
        "line 2 changed into lines 2-3",
        "line 5 added",
    ]
    assert "The texts themselves are not kept" in said

    assert shell("baselines", "approve", "91aa")[2] == "the prompt 91aa2a9be1d3 is normal for openai, agent bot\n"
    assert shell("baselines", "ls", "--waiting", "--json")[1] == ""
    one = json.loads(shell("baselines", "ls", "--json")[1].splitlines()[1])
    assert one["approved_by"].startswith("cli:")


def test_the_difference_as_json(shell: Any, tmp_path: Path) -> None:
    place = place_of(Part.PROMPT, "openai", None)
    seen(tmp_path, place, {NORMAL: PROMPT, DRIFTED: "You are a bot."})

    found = json.loads(shell("baselines", "diff", "91aa", "--json")[1])

    assert (found["before"]["fingerprint"], found["after"]["fingerprint"], found["calls"], found["alerts"]) == (NORMAL, DRIFTED, 0, [])
    changes = [{"before": [2, 3], "after": []}]
    assert found["difference"] == {"same_template": False, "same_lines": 1, "changes": changes, "complete": True}
    reverse = shell("baselines", "diff", "4f0c", "91aa")[1]
    assert "lines 2-3 added" in reverse


def test_what_cannot_be_compared_says_why(shell: Any, tmp_path: Path) -> None:
    seen(tmp_path, place_of(Part.PROMPT, "openai", None), {NORMAL: PROMPT})
    seen(tmp_path, place_of(Part.TOOL, "openai", None), {NORMAL: "{}"}, name="search")

    assert shell("baselines", "diff", "4f0c")[2].startswith("tollwatch: '4f0c' names 2 fingerprints: give --service, --agent or --tool")
    assert "nothing of the tool search of openai is approved yet" in shell("baselines", "diff", "4f0c", "--tool", "search")[1]
    assert shell("baselines", "approve", "ffff")[::2] == (
        1,
        "tollwatch: 'ffff' names no fingerprint that was seen there; `tollwatch baselines ls` shows all\n",
    )
    assert shell("baselines", "approve", "4f0c", "--tool", "search")[2] == "the definition of search 4f0c2a9be1d3 is normal for openai\n"


def test_long_texts_and_those_seen_by_an_earlier_version_are_compared_as_far_as_is_known(shell: Any, tmp_path: Path) -> None:
    long = "\n".join(f"line {number}" for number in range(400))
    seen(tmp_path, place_of(Part.PROMPT, "openai", None), {NORMAL: long, DRIFTED: long.replace("line 7\n", "line 8\n")})

    told = shell("baselines", "diff", "91aa")[1].splitlines()

    assert told[3:] == [
        "They differ in numbers, ids, dates and blanks alone.",
        "299 lines are in both.",
        "line 8 changed",
        "Lines beyond the 300th are not compared.",
    ]
    without_shapes(tmp_path)
    assert "size not known" in shell("baselines", "diff", "91aa")[1]
    assert "one of them was seen before lines were counted" in shell("baselines", "diff", "91aa")[1]


def without_shapes(folder: Path) -> None:
    """Make the store as if the baselines had been seen before shapes were kept."""
    with contextlib.closing(sqlite3.connect(folder / "data" / "tollwatch.db")) as store, store:
        store.execute("UPDATE baselines SET shape = NULL")
