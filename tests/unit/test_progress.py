"""How far something has come is told to people who wait, and to nobody else."""

import io

import pytest

from labkit.ui.progress import StatusLine


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown(text: str, monkeypatch: pytest.MonkeyPatch) -> str:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    StatusLine().show(text)
    return terminal.getvalue()


def test_a_line_is_shown_to_whoever_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LAB_QUICK", raising=False)
    assert "looked at 7 of 9" in shown("looked at 7 of 9", monkeypatch)


def test_no_line_is_shown_where_outputs_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_QUICK", "1")
    assert shown("looked at 7 of 9", monkeypatch) == ""
