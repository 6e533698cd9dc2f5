"""What the Makefile's targets do before anything is installed."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from labkit.services.environment import ROOT


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A fresh clone: nothing installed, nothing started."""
    folder = tmp_path / "a clone"
    shutil.copytree(ROOT / "labkit", folder / "labkit")
    for name in ("Makefile", "requirements.txt", "constraints.txt"):
        shutil.copy(ROOT / name, folder)
    return folder


def run(clone: Path, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """The services' command, on a Python that sees nothing but its standard library."""
    names = ("AMQP_URL", "DATABASE_URL", "MANAGEMENT_URL")
    inherited = {key: value for key, value in os.environ.items() if key not in names}
    return subprocess.run(
        [sys.executable, "-S", "-m", "labkit.services", *arguments],
        cwd=clone,
        env=inherited | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_doctor_says_how_to_start_a_lab_that_is_not_running(clone: Path) -> None:
    done = run(clone, "doctor")
    assert done.returncode == 1
    assert "[FAIL] broker       the lab is not running" in done.stdout
    assert "→ make up" in done.stdout


def test_stopping_what_does_not_run_is_harmless(clone: Path) -> None:
    done = run(clone, "down")
    assert done.returncode == 0
    assert "nothing was running" in done.stderr


def test_one_address_without_the_other_is_a_clear_error(clone: Path) -> None:
    done = run(clone, "doctor", AMQP_URL="amqp://somewhere")
    assert "DATABASE_URL is not" in done.stdout


def test_make_names_what_to_install_where_python_is_too_old(clone: Path, tmp_path: Path) -> None:
    old = tmp_path / "bin" / "python3"
    old.parent.mkdir()
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    make = shutil.which("make")
    assert make is not None
    done = subprocess.run(
        [make, "lab"], cwd=clone, env={"PATH": str(old.parent)}, capture_output=True, text=True
    )
    assert done.returncode != 0
    assert "The lab needs Python 3.11 or newer" in done.stderr
