"""A clone in which there can be no lab says so, before anything is begun."""

import os
from pathlib import Path

import pytest

from labkit.launcher import folder
from labkit.services.errors import ServiceError


def test_a_folder_of_ones_own_is_fine(tmp_path: Path) -> None:
    folder.check(tmp_path)
    (tmp_path / ".lab").mkdir()
    folder.check(tmp_path)


@pytest.mark.parametrize("name", folder.OURS)
def test_the_lab_of_another_user_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """As after `sudo make up`."""
    (tmp_path / name).mkdir()
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(ServiceError, match=r"sudo make down; sudo rm -r .lab .venv"):
        folder.check(tmp_path)


def test_a_clone_that_cannot_be_written_to_says_where_to_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write everywhere
    with pytest.raises(ServiceError, match="git clone"):
        folder.check(tmp_path)
    for name in folder.OURS:
        (tmp_path / name).mkdir()
    folder.check(tmp_path)
