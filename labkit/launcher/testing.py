"""`make test`: lint, format, types, spelling and tests, side by side."""

import asyncio
import contextlib
import os
import signal
import time
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from collections.abc import AsyncIterator

from labkit.launcher import chromium, lab, venv
from labkit.launcher.steps import Steps

CHECKS = {
    "lint": ["ruff", "check"],
    "format": ["ruff", "format", "--check"],
    "types": ["mypy"],
    "spelling": ["codespell_lib"],
}
TESTS = ["pytest", "-n", "3"]
"""What it runs, and its options, is in pyproject.toml. Tests mostly wait, for processes that start
and brokers that answer: three at a time keep two cores busy."""
UNIT = ["pytest", "-q", "-n", "2", "tests/unit"]
INTERRUPTION = 20.0
"""Seconds that pytest has, after Ctrl-C, to end its own services."""


async def run(steps: Steps) -> int:
    """Install what is missing, then check everything. Returns 0 only if all is well."""
    await lab.install(steps)
    await steps.step("Chromium", chromium.complete)
    begun = time.monotonic()
    results: dict[str, int | None] = {}

    async def check(name: str) -> None:
        async with _started(CHECKS[name], PIPE) as child:
            output, _ = await child.communicate()
            results[name] = child.returncode
            text = output.decode("utf-8", "replace").rstrip() or "no complaints"
            steps.say(f"  {'✗' if child.returncode else '✓'} {name}: {text}")

    async def tests() -> None:
        async with _started(TESTS) as child:
            results["tests"] = await child.wait()

    async with asyncio.TaskGroup() as group:
        for work in (*map(check, CHECKS), tests()):
            group.create_task(work)
    failed = [name for name, code in results.items() if code]
    verdict = f"✗ failed: {', '.join(failed)}" if failed else "✓ all is well"
    steps.say(f"  {verdict} ({time.monotonic() - begun:.0f} s)")
    return 1 if failed else 0


async def unit(steps: Steps) -> int:
    """Install what is missing, then run the tests that need no service."""
    await lab.install(steps)
    async with _started(UNIT) as child:
        return await child.wait()


@contextlib.asynccontextmanager
async def _started(command: list[str], output: int | None = None) -> AsyncIterator[Process]:
    """A module of the virtual environment; an interrupted block ends it, pytest's services too."""
    child = await asyncio.create_subprocess_exec(
        *(str(venv.PYTHON), "-m", *command),
        stdin=DEVNULL,
        stdout=output,
        stderr=STDOUT if output else None,
        cwd=venv.ROOT,
        env=venv.environment(),
        start_new_session=True,  # so that Ctrl-C reaches it once, from us
    )
    try:
        yield child
    finally:
        if child.returncode is None:
            child.send_signal(signal.SIGINT)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(child.wait(), INTERRUPTION)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            await child.wait()
