"""`python3 -m labkit.launcher COMMAND`, which is what each target of the Makefile runs.

On any Python from 3.11 on: it makes the virtual environment, if need be, and goes on in it.
"""

import sys

if sys.version_info < (3, 11):  # noqa: UP036 - before any import that an older Python cannot read
    raise SystemExit(
        "The lab needs Python 3.11 or newer; this is Python {}.{}.\n"
        "Install it (Debian, Ubuntu: sudo apt install python3; macOS: brew install python@3.13) "
        "and run `make` again.".format(*sys.version_info[:2])
    )

import asyncio
import os
from typing import NoReturn

from labkit.launcher import venv
from labkit.services.errors import ServiceError
from labkit.services.inherited import for_pip

NEED_NOTHING = {
    "down": "  nothing was running",
    "doctor": f"[FAIL] packages     there is no .venv\n{'':20}→ make up",
}
"""Commands for which nothing is installed, and what they say where nothing is."""


def main() -> int:
    os.chdir(venv.ROOT)
    command = sys.argv[1] if sys.argv[1:] else ""
    if command not in NEED_NOTHING:
        try:
            asyncio.run(venv.make())
        except ServiceError as error:
            print(f"\n{error}", file=sys.stderr)  # noqa: T201
            return 1
        except KeyboardInterrupt:
            return 130
    elif not venv.PYTHON.exists():
        print(NEED_NOTHING[command])  # noqa: T201 - the command's output
        return int(command == "doctor")
    return _go_on(sys.argv[1:])


def _go_on(arguments: list[str]) -> NoReturn:
    command = [str(venv.PYTHON), "-m", "labkit.launcher.commands", *arguments]
    # The package index that the user has set goes on, for what is still to be installed.
    os.execve(venv.PYTHON, command, for_pip() | venv.environment())  # noqa: S606


if __name__ == "__main__":
    sys.exit(main())
