"""`make test`: lint, format, types, spelling and tests, side by side."""

import contextlib
import os
import signal
import subprocess
import tempfile
import time
from typing import IO

from labkit.services import lab, venv
from labkit.services.environment import ROOT
from labkit.services.progress import Progress

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


def run(progress: Progress) -> int:
    """Install what is missing, then check everything. Returns 0 only if all is well."""
    lab.prepare(progress)
    with contextlib.ExitStack() as stack:
        outputs = {name: stack.enter_context(tempfile.TemporaryFile()) for name in CHECKS}
        checks = {name: _start(stack, CHECKS[name], outputs[name]) for name in CHECKS}
        tests = _start(stack, TESTS, None)
        start = time.monotonic()
        results = {name: check.wait() for name, check in checks.items()}
        for name, code in results.items():
            outputs[name].seek(0)
            output = outputs[name].read().decode("utf-8", "replace").rstrip()
            mark = "✓" if code == 0 else "✗"
            progress.say(f"  {mark} {name}: {output or 'no complaints'}")
        results["tests"] = tests.wait()
    failed = [name for name, code in results.items() if code]
    verdict = f"✗ failed: {', '.join(failed)}" if failed else "✓ all is well"
    progress.say(f"  {verdict} ({time.monotonic() - start:.0f} s)")
    return 1 if failed else 0


def unit(progress: Progress) -> int:
    """Install what is missing, then run the tests that need no service."""
    lab.prepare(progress)
    with contextlib.ExitStack() as stack:
        return _start(stack, UNIT, None).wait()


def _start(
    stack: contextlib.ExitStack, command: list[str], output: IO[bytes] | None
) -> "subprocess.Popen[bytes]":
    module, *arguments = command
    child = subprocess.Popen(
        [venv.PYTHON, "-m", module, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT if output else None,
        cwd=ROOT,
        env=venv.environment(),
        start_new_session=True,  # so that Ctrl-C reaches it once, from us
    )
    stack.callback(_end, child)
    return child


def _end(child: "subprocess.Popen[bytes]") -> None:
    if child.poll() is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        os.kill(child.pid, signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(INTERRUPTION)
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
