"""JupyterLab's token opens the student's account: only the student gets to see it."""

import html
import os
import re
from pathlib import Path

import pytest

from labkit.launcher import browser
from labkit.services import environment
from tests.support import ROOT

URL = "http://127.0.0.1:8888/lab/tree/notebooks/00_start_here.ipynb?token=a-secret&b='c'"


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file into which a browser writes the command line that it was started with."""
    arguments = tmp_path / "arguments"
    program = tmp_path / "browser"
    program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {arguments}\n')
    program.chmod(0o755)
    monkeypatch.setenv("BROWSER", str(program))
    monkeypatch.setattr("webbrowser._tryorder", None)
    monkeypatch.setattr(environment, "ROOT", tmp_path)
    before = os.umask(0)
    try:
        browser.open_page(URL)
    finally:
        os.umask(before)
    return arguments


def test_the_token_is_on_no_command_line(opened: Path) -> None:
    assert opened.read_text() == f"{browser.page().as_uri()}\n"
    assert "a-secret" not in opened.read_text()


def test_the_page_leads_to_jupyterlab_and_only_its_owner_may_read_it(opened: Path) -> None:
    assert browser.page().stat().st_mode & 0o777 == 0o600
    (leads_to,) = re.findall('content="0; url=(.*)"', browser.page().read_text())
    assert html.unescape(leads_to) == URL
    browser.forget()
    assert not browser.page().exists()


def test_the_page_is_never_committed() -> None:
    assert browser.PAGE in (ROOT / ".gitignore").read_text().split()
