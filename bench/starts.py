"""How long things take to be there: an import, a lab, and a whole set-up in a fresh clone."""

import asyncio
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable
from pathlib import Path

from labkit import Lab
from labkit.services.environment import ROOT

TIMES = 5


async def main(folder: Path) -> dict[str, float]:
    """Seconds, by name. ``folder`` is for the clone."""
    print("  starts …", flush=True)  # noqa: T201
    bare = await _median("python", "-c", "pass")
    with_labkit = await _median("python", "-c", "import labkit")
    clone = folder / "clone"
    await _run(ROOT, "git", "clone", "--quiet", str(ROOT), str(clone))
    return {
        "import_labkit_s": with_labkit - bare,
        "lab_open_s": statistics.median([await _timed(_lab()) for _ in range(TIMES)]),
        "make_up_in_a_fresh_clone_s": await _timed(_run(clone, "make", "up")),
        "make_up_again_s": await _up_again(clone),
    }


async def _up_again(clone: Path) -> float:
    """With everything installed; what runs is ended."""
    await _run(clone, "make", "down")
    try:
        return await _timed(_run(clone, "make", "up"))
    finally:
        await _run(clone, "make", "down")


async def _lab() -> None:
    async with Lab.open("starts"):
        pass


async def _median(*command: str) -> float:
    return statistics.median([await _timed(_run(ROOT, *command)) for _ in range(TIMES)])


async def _run(folder: Path, program: str, *arguments: str) -> None:
    """Raises ``RuntimeError`` with what it said if it fails."""
    program = sys.executable if program == "python" else program
    child = await asyncio.create_subprocess_exec(
        *(program, *arguments),
        cwd=folder,
        env=_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    output, _ = await child.communicate()
    if child.returncode:
        raise RuntimeError(f"{program} {' '.join(arguments)}: {output.decode()[-2000:]}")


def _environment() -> dict[str, str]:
    """As a student has it: nothing of the benchmark's own services."""
    ours = ("AMQP_URL", "DATABASE_URL", "MANAGEMENT_URL", "API_KEY", "RABBITMQ", "VIRTUAL_ENV")
    return {name: value for name, value in os.environ.items() if not name.endswith(ours)}


async def _timed(work: Awaitable[object]) -> float:
    begin = time.perf_counter()
    await work
    return time.perf_counter() - begin
