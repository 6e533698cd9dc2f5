"""A virtual environment for one purpose: what it needs is nothing that the lab needs."""

import subprocess
import sys
from pathlib import Path


def environment(folder: Path, requirements: Path) -> Path:
    """The Python that has what `requirements` pins; made when it is needed first.

    Raises `subprocess.CalledProcessError` after what uv has said.
    """
    uv = [sys.executable, "-m", "uv"]
    python = folder / "bin" / "python"
    if not python.exists():
        _run(*uv, "venv", "--quiet", "--python", sys.executable, str(folder))
    _run(*uv, "pip", "install", "--quiet", "--python", str(python), "-r", str(requirements))
    return python


def _run(*command: str) -> None:
    subprocess.run(command, check=True)
