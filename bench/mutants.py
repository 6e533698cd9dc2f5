"""``make mutants``: is each line of the server held by a test?

mutmut changes the server in one place at a time and runs the tests that get there. A change that no
test notices survives. ``ONLY='server.contract*'`` takes a part of it: all of it takes hours. What
survived last, and why that is so, is in docs/mutants.md.
"""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from labkit.services.environment import ROOT
from labkit.services.files import write_atomically
from labkit.services.inherited import for_pip, inherited
from labkit.services.private import private_services

MUTMUT = "mutmut==3.8.1"
"""Installed when it is asked for: a student does not need it."""
SERVICES = "LAB_TEST_HOME"
"""Names the folder in which tests find the addresses of services that run already."""


def main() -> int:
    install = [sys.executable, "-m", "pip", "install", "-q", MUTMUT]
    subprocess.run(install, env=for_pip(), check=True)  # noqa: S603
    return asyncio.run(run(os.environ.get("ONLY", "").split()))


async def run(only: list[str]) -> int:
    with tempfile.TemporaryDirectory(prefix="lab-mutants-") as folder:
        async with private_services(Path(folder) / "services", durable=False) as urls:
            write_atomically(Path(folder) / "urls", json.dumps(urls))
            environment = inherited() | {SERVICES: folder}
            code = await _mutmut(environment, "run", "--max-children", "2", *only)
            return code or await _mutmut(environment, "results")


async def _mutmut(environment: dict[str, str], *arguments: str) -> int:
    command = (sys.executable, "-m", "mutmut", *arguments)
    process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, env=environment)
    return await process.wait()


if __name__ == "__main__":
    sys.exit(main())
