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
    for name in ("labkit", "server"):
        shutil.copytree(ROOT / name, folder / name)
    for name in ("Makefile", "requirements.txt", "constraints.txt"):
        shutil.copy(ROOT / name, folder)
    return folder


def run(clone: Path, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """The launcher, on a Python that sees nothing but its standard library."""
    names = ("AMQP_URL", "DATABASE_URL", "MANAGEMENT_URL")
    inherited = {key: value for key, value in os.environ.items() if key not in names}
    return subprocess.run(
        [sys.executable, "-S", "-m", "labkit.launcher", *arguments],
        cwd=clone,
        env=inherited | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_without_an_environment_the_doctor_says_how_to_get_one(clone: Path) -> None:
    done = run(clone, "doctor")
    assert done.returncode == 1
    assert "there is no .venv" in done.stdout
    assert "→ make up" in done.stdout


def test_stopping_what_was_never_installed_is_harmless_and_installs_nothing(clone: Path) -> None:
    done = run(clone, "down")
    assert done.returncode == 0
    assert "nothing was running" in done.stdout
    assert not (clone / ".venv").exists()


@pytest.fixture
def installed(clone: Path) -> Path:
    """A clone with an environment: this one's, through a link."""
    (clone / ".venv").symlink_to(ROOT / ".venv")
    return clone


def test_the_doctor_says_how_to_start_a_lab_that_is_not_running(installed: Path) -> None:
    done = run(installed, "doctor", PYTHONPATH=str(installed))
    assert done.returncode == 1
    assert "[FAIL] broker       the lab is not running" in done.stdout
    assert "→ make up" in done.stdout


def test_one_address_without_the_other_is_a_clear_error(installed: Path) -> None:
    done = run(installed, "doctor", AMQP_URL="amqp://somewhere")
    assert "DATABASE_URL is not" in done.stdout


def test_the_launchers_packages_are_enough_for_it() -> None:
    """They are installed first, so that services start while the others are on their way."""
    script = """
import sys
known = set(sys.modules)
import labkit.launcher.commands
loaded = {name.partition(".")[0] for name in set(sys.modules) - known}
print(*sorted(loaded & set(sys.argv[1:])))
"""
    others = [
        "fastapi",
        "sqlalchemy",
        "pandas",
        "matplotlib",
        "structlog",
        "jwt",
        "argon2",
        "uvicorn",
        "aiohttp",
    ]
    command = [sys.executable, "-c", script, *others]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


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
