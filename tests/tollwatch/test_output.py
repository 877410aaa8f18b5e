"""What commands print cannot steer a terminal, and fits it."""

import io
import os
from types import SimpleNamespace

import pytest

from tollwatch import output


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    made = Terminal()
    monkeypatch.setattr(output, "sys", SimpleNamespace(stdout=made))
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr(output.shutil, "get_terminal_size", lambda: os.terminal_size((60, 24)))
    return made


@pytest.mark.parametrize("text", ["\x1b[2J", "a\r\nb", "\u202egnp", "\u2028"])
def test_signs_that_steer_are_replaced(text: str) -> None:
    assert output.printable(text).isprintable()


def test_nothing_is_printed_as_nothing() -> None:
    assert output.printable(None) == ""


def test_the_last_column_is_cut_to_the_terminal(terminal: Terminal) -> None:
    output.table(["ID", "MESSAGE"], [["high", "x" * 100]], styles={"high": "high"})

    lines = terminal.getvalue().splitlines()
    assert "\x1b[31m" in lines[1]
    assert "…" in lines[1]
    assert len(lines[1].replace("\x1b[31m", "").replace("\x1b[0m", "")) <= 60


def test_no_color_is_obeyed(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")

    output.table(["ID"], [["high"]], styles={"high": "high"})

    assert "\x1b" not in terminal.getvalue()


def test_a_pipe_gets_everything(capsys: pytest.CaptureFixture[str]) -> None:
    output.table(["ID", "N"], [["a", 1], ["b", 100]], right=frozenset({"N"}))

    assert capsys.readouterr().out == "ID    N\na     1\nb   100\n"
