"""The virtual environment: made once, and again when what it was made from has changed.

In two parts, so that RabbitMQ can start while most packages are still on their way: what the
launcher itself needs, and the rest.
"""

import asyncio
import fcntl
import hashlib
import os
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from labkit.services.errors import ServiceError
from labkit.services.files import identity, read_json, write_atomically
from labkit.services.inherited import for_pip, inherited
from labkit.services.running import run

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / ".venv"
PYTHON = FOLDER / "bin" / "python"
REQUIREMENTS, CONSTRAINTS = ROOT / "requirements.txt", ROOT / "constraints.txt"
LAUNCHER = (
    *("aio-pika", "asyncpg", "filelock", "httpx"),
    *("psutil", "pydantic", "python-dotenv", "rich"),
)
"""What `labkit.launcher` and `labkit.services` import; their versions are in constraints.txt."""
BEGUN, COMPLETE = FOLDER / "begun", FOLDER / "complete"
"""Stamps: the first holds the Python, the place and the packages that it was made for, the second
what of requirements.txt and constraints.txt is installed. Without them it was interrupted."""
WHEELS = (Path("/usr/share/python-wheels"), Path(os.__file__).parent / "ensurepip" / "_bundled")
"""Where Debian's python3-venv, and Python itself, keep a pip for new environments. The second one
is preferred: Debian's may be too old for a Python that is not Debian's."""


def is_begun() -> bool:
    """Whether the launcher can run in it."""
    return _stamp(BEGUN) == _python()


def needs_pip() -> bool:
    """Debian keeps the pip that belongs to Python in a package of its own."""
    return not is_begun() and not _wheels() and shutil.which("uv") is None


async def begin() -> None:
    """There is an environment in which the launcher runs. Needs the network only if it has to be
    made. Raises `ServiceError`, which says what to do.
    """
    async with _alone():
        if not is_begun():
            _require_unused()
            await _make()


async def _make() -> None:
    shutil.rmtree(FOLDER, ignore_errors=True)
    base = getattr(sys, "_base_executable", sys.executable)  # not a .venv that is active right now
    # Without pip, which comes with the other packages: unpacking it first would cost 3 seconds.
    await run([base, "-m", "venv", "--without-pip", FOLDER], env=inherited())
    await _install([*LAUNCHER, "-c", str(CONSTRAINTS)])
    # `import labkit` from any folder, kernel or editor that uses this environment. A .pth file, not
    # PYTHONPATH: that would reach only what we start ourselves.
    for site in FOLDER.glob("lib/python3*/site-packages"):
        (site / "lab.pth").write_text(f"{ROOT}\n", encoding="utf-8")
    write_atomically(BEGUN, _python())


async def complete() -> str:
    """All of requirements.txt is installed; says what was done."""
    if not is_complete():
        async with _alone():
            if not is_complete():
                COMPLETE.unlink(missing_ok=True)
                how = await _install(["-r", str(REQUIREMENTS), "-c", str(CONSTRAINTS)])
                write_atomically(COMPLETE, _wanted())
                return f"installed with {how}"
    return "as in requirements.txt"


@asynccontextmanager
async def _alone() -> AsyncIterator[None]:
    """One `make` at a time. Its lock is the clone's own folder, which is there, and may be for
    reading only.
    """
    folder = os.open(ROOT, os.O_RDONLY)
    try:
        while not _locks(folder):  # noqa: ASYNC110  (no event tells of it)
            await asyncio.sleep(0.1)
        yield
    finally:
        os.close(folder)


def _locks(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _require_unused() -> None:
    """Raises `ServiceError` if a lab runs in what has to be removed. It is known by its records:
    psutil, which would tell more, may not be installed yet.
    """
    for record in sorted((ROOT / ".lab" / "run").glob("*.json")):
        content = read_json(record)
        if content.get("folder") == identity(record.parent) and _runs(content["pid"]):
            raise ServiceError(
                f"{FOLDER} was made with another Python, or for other packages, and {record.stem} "
                "runs in it: it would be removed. End the lab first: make down"
            )


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


async def add(requirements: Path) -> None:
    """What only some work needs, with the versions of everything else."""
    stamp, wanted = FOLDER / f"added-{requirements.parent.name}", requirements.read_text("utf-8")
    async with _alone():
        if _stamp(stamp) != wanted:
            await _install(["-r", str(requirements), "-c", str(CONSTRAINTS)])
            write_atomically(stamp, wanted)


def is_complete() -> bool:
    """Whether it is what `requirements.txt` and `constraints.txt` ask for."""
    return _stamp(COMPLETE) == _wanted()


def environment() -> dict[str, str]:
    """What is inherited, with the programs of the virtual environment first."""
    path = os.pathsep.join([str(PYTHON.parent), os.environ.get("PATH", os.defpath)])
    return inherited() | {"VIRTUAL_ENV": str(FOLDER), "PATH": path}


def _stamp(path: Path) -> str:
    return path.read_text("utf-8") if path.exists() else ""


def _python() -> str:
    version = ".".join(map(str, sys.version_info[:3]))
    return f"{sys.base_prefix} {version} {FOLDER}\n{' '.join(LAUNCHER)}\n"


def _wanted() -> str:
    return hashlib.sha256(REQUIREMENTS.read_bytes() + b"\0" + CONSTRAINTS.read_bytes()).hexdigest()


async def _install(wanted: list[str]) -> str:
    """uv takes seconds where pip takes half a minute; pip, where uv cannot be had."""
    errors = []
    for name, command in {"uv": _uv, "pip": _pip}.items():
        try:
            await run([*await command(), "-q", *wanted], env=_environment(name))
            return name
        except ServiceError as error:
            errors.append(f"{name} said:\n{error}")
    raise ServiceError(
        "The Python packages cannot be installed. Is there a network?\n" + "\n".join(errors)
    )


async def _uv() -> list[str]:
    """The system's uv, else one that pip brings into the virtual environment."""
    uv = shutil.which("uv", path=environment()["PATH"])
    if uv is None:
        await run([*await _pip(), "-q", "uv"], env=_environment("pip"))
        uv = str(PYTHON.with_name("uv"))
    return [uv, "pip", "install", "--python", str(PYTHON)]


async def _pip() -> list[str]:
    """pip inside the virtual environment, from the wheel that Python brings."""
    wheel = str(_wheels()[-1] / "pip")
    return [str(PYTHON), wheel, "--disable-pip-version-check", "--no-input", "install"]


def _environment(name: str) -> dict[str, str]:
    """uv does not read pip's settings: a school's own package index has to reach it too."""
    if name == "pip":
        return for_pip()
    names = {
        "PIP_INDEX_URL": "UV_DEFAULT_INDEX",
        "PIP_EXTRA_INDEX_URL": "UV_INDEX",
        "PIP_CERT": "SSL_CERT_FILE",
    }
    return inherited() | {uv: os.environ[pip] for pip, uv in names.items() if os.environ.get(pip)}


def _wheels() -> list[Path]:
    return [wheel for folder in WHEELS for wheel in sorted(folder.glob("pip-*.whl"))]
