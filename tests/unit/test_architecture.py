"""Dependencies point one way: pyproject.toml has the layers, as `lint-imports` reads them."""

import subprocess
import sys
from pathlib import Path

import pytest
from importlinter.cli import lint_imports

ROOT = Path(__file__).resolve().parents[2]


def test_no_layer_imports_what_is_above_it(capsys: pytest.CaptureFixture[str]) -> None:
    broken = lint_imports(config_filename=str(ROOT / "pyproject.toml"), no_cache=True)
    assert broken == 0, capsys.readouterr().out


@pytest.mark.parametrize("module", ["labkit.launcher.__main__", "labkit.services.permissions"])
def test_what_runs_before_anything_is_installed_needs_nothing_but_python(module: str) -> None:
    command = [sys.executable, "-S", "-c", f"import {module}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
