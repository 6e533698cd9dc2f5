"""How long things take to be there: an import, a lab, and a whole set-up in a fresh clone."""

import asyncio
import os
import statistics
import subprocess
import sys
from collections.abc import Collection
from functools import partial
from pathlib import Path

from bench.stopwatch import timed
from labkit import Lab
from labkit.services.environment import ROOT

TIMES = 5


async def main(folder: Path, services: Collection[str]) -> dict[str, float]:
    """Seconds, by name. ``folder`` is for the clone, which is to know nothing of ``services``: the
    variables that name the benchmark's own.
    """
    print("  starts …", flush=True)  # noqa: T201
    environment = {name: value for name, value in os.environ.items() if name not in services}
    clone = folder / "clone"
    await _run(environment, ROOT, "git", "clone", "--quiet", str(ROOT), str(clone))
    make = partial(_run, environment, clone, "make")
    figures = {
        "import_lab_s": await _import(environment, "from labkit import Lab"),
        "lab_open_s": statistics.median([await timed(_lab()) for _ in range(TIMES)]),
    }
    try:
        figures["make_up_in_a_fresh_clone_s"] = await timed(make("up"))
        await make("down")
        figures["make_up_again_s"] = await timed(make("up"))
    finally:
        await make("down")
    return figures


async def _import(environment: dict[str, str], statement: str) -> float:
    """What it takes longer than to start Python."""
    python = partial(_run, environment, ROOT, sys.executable, "-c")
    bare, importing = [
        statistics.median([await timed(python(code)) for _ in range(TIMES)])
        for code in ("pass", statement)
    ]
    return importing - bare


async def _lab() -> None:
    async with Lab.open("starts"):
        pass


async def _run(environment: dict[str, str], folder: Path, *command: str) -> None:
    """Raises ``RuntimeError`` with what it said if it fails."""
    child = await asyncio.create_subprocess_exec(
        *command,
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    output, _ = await child.communicate()
    if child.returncode:
        raise RuntimeError(f"{' '.join(command)}: {output.decode()[-2000:]}")
