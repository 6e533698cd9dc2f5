"""The virtual environment: made once, and again when what it was made from has changed."""

import hashlib
import os
import shutil
import sys
import threading
from pathlib import Path

from labkit.services import binaries, debian
from labkit.services.environment import ROOT
from labkit.services.errors import MissingSoftware, ServiceError
from labkit.services.files import write_atomically
from labkit.services.inherited import for_pip, inherited
from labkit.services.waiting import run

FOLDER = ROOT / ".venv"
PYTHON = FOLDER / "bin" / "python"
REQUIREMENTS, CONSTRAINTS = ROOT / "requirements.txt", ROOT / "constraints.txt"
STAMP = FOLDER / "complete"
WHEELS = (Path("/usr/share/python-wheels"), Path(os.__file__).parent / "ensurepip" / "_bundled")
"""Where Debian's python3-venv, and Python itself, keep a pip for new environments. The second one
is preferred: Debian's may be too old for a Python that is not Debian's."""


def ensure(cancel: threading.Event) -> str:
    """Make it complete; says what was done. Needs the network only if something has changed.

    A `.venv` without its stamp was interrupted; one with another stamp's first line belongs to
    another place or Python. Both are made again.
    """
    stamp = STAMP.read_text() if STAMP.exists() else ""
    if stamp == _stamp():
        return "as in requirements.txt"
    same_python = stamp.partition("\n")[0] == _stamp().partition("\n")[0]
    STAMP.unlink(missing_ok=True)
    if not same_python:
        _create(cancel)
    how = _install(cancel)
    _make_clone_importable()
    write_atomically(STAMP, _stamp(), mode=0o644)
    return f"installed with {how}"


def complete() -> bool:
    """Whether it is what `requirements.txt` and `constraints.txt` ask for."""
    return STAMP.exists() and STAMP.read_text() == _stamp()


def pip_is_missing() -> bool:
    """Debian keeps the pip that belongs to Python in a package of its own."""
    return not complete() and not _wheels() and shutil.which("uv") is None


def ensure_pip(cancel: threading.Event) -> str:
    """Raises `MissingSoftware` if this Python has no pip and we may not install one."""
    if not _wheels() and debian.may_install():
        debian.install(["pip"], cancel)
    if not _wheels():
        raise MissingSoftware(binaries.advice(["pip"]))
    return "installed python3-venv"


def environment() -> dict[str, str]:
    """What is inherited, with the programs of the virtual environment first."""
    path = os.pathsep.join([str(PYTHON.parent), os.environ.get("PATH", os.defpath)])
    return inherited() | {"VIRTUAL_ENV": str(FOLDER), "PATH": path}


def _stamp() -> str:
    """First line: the interpreter and the place, which an environment cannot outlive."""
    version = ".".join(map(str, sys.version_info[:3]))
    wanted = hashlib.sha256(REQUIREMENTS.read_bytes() + b"\0" + CONSTRAINTS.read_bytes())
    return f"{sys.base_prefix} {version} {FOLDER}\n{wanted.hexdigest()}\n"


def _create(cancel: threading.Event) -> None:
    """Without pip, which comes with the other packages: unpacking it first would cost 3 seconds."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    base = getattr(sys, "_base_executable", sys.executable)  # not a .venv that is active right now
    run([base, "-m", "venv", "--without-pip", FOLDER], cancel=cancel, env=inherited())


def _install(cancel: threading.Event) -> str:
    """uv takes seconds where pip takes half a minute; pip, where uv cannot be had."""
    wanted = ["-r", str(REQUIREMENTS), "-c", str(CONSTRAINTS)]
    try:
        run(
            [_uv(cancel), "pip", "install", "-q", "--python", PYTHON, *wanted],
            cancel=cancel,
            env=_uv_environment(),
        )
        return "uv"
    except ServiceError as uv_error:
        try:
            run([*_pip(cancel), "install", "-q", *wanted], cancel=cancel, env=for_pip())
        except ServiceError as error:
            raise ServiceError(
                f"The Python packages cannot be installed. Is there a network?\n{error}\n"
                f"Before that, uv said:\n{uv_error}"
            ) from error
        return "pip"


def _uv(cancel: threading.Event) -> Path:
    """The system's uv, else one that pip brings into the virtual environment."""
    if found := shutil.which("uv"):
        return Path(found)
    ours = PYTHON.with_name("uv")
    if not ours.exists():
        run([*_pip(cancel), "install", "-q", "uv"], cancel=cancel, env=for_pip())
    return ours


def _pip(cancel: threading.Event) -> list[str]:
    """A command that runs pip inside the virtual environment, from the wheel that Python brings."""
    ensure_pip(cancel)
    return [str(PYTHON), str(_wheels()[-1] / "pip"), "--disable-pip-version-check", "--no-input"]


def _wheels() -> list[Path]:
    return [wheel for folder in WHEELS for wheel in sorted(folder.glob("pip-*.whl"))]


def _uv_environment() -> dict[str, str]:
    """uv does not read pip's settings: a school's own package index has to reach it too."""
    names = {
        "PIP_INDEX_URL": "UV_DEFAULT_INDEX",
        "PIP_EXTRA_INDEX_URL": "UV_INDEX",
        "PIP_CERT": "SSL_CERT_FILE",
    }
    given = {uv: os.environ[pip] for pip, uv in names.items() if os.environ.get(pip)}
    return inherited() | given


def _make_clone_importable() -> None:
    """`import labkit` from any folder, kernel or editor that uses this environment.

    A .pth file, not PYTHONPATH: that would reach only what we start ourselves.
    """
    for site in FOLDER.glob("lib/python3*/site-packages"):
        (site / "lab.pth").write_text(f"{ROOT}\n", encoding="utf-8")
