"""``make mutants``: is what the server does by itself held by the tests that need no service?

mutmut changes the server in one place at a time and runs the unit tests that get there. A change
that none of them notices survives; what no unit test gets to at all is not counted. It takes about
ten minutes. What survived last, and why that is so, is in docs/mutants.md.
"""

import subprocess
import sys

from labkit.services.environment import ROOT
from labkit.services.inherited import for_pip, inherited

MUTMUT = "mutmut==3.8.1"
"""Installed when it is asked for: a student does not need it."""


def main() -> int:
    _python("pip", "install", "-q", MUTMUT, environment=for_pip())
    code = _python("mutmut", "run", "--max-children", "2")
    return code or _python("mutmut", "results")


def _python(module: str, *arguments: str, environment: dict[str, str] | None = None) -> int:
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.run(  # noqa: S603
        command, cwd=ROOT, env=environment or inherited(), check=False
    ).returncode


if __name__ == "__main__":
    sys.exit(main())
