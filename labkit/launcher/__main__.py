"""`python3 -m labkit.launcher COMMAND`, which is what each target of the Makefile runs.

On any Python from 3.11 on: it installs what is missing, side by side, and goes on in the virtual
environment.
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
import time
from typing import NoReturn

from labkit.launcher import debian, folder, venv
from labkit.services import environment, software
from labkit.services.errors import MissingSoftware, ServiceError
from labkit.services.inherited import for_pip
from labkit.services.running import side_by_side

NEED_NOTHING = {
    "down": "  nothing was running",
    "doctor": f"[FAIL] packages     there is no .venv\n{'':20}→ make up",
}
"""Commands for which nothing is installed, and what they say where nothing is."""
BEAT = 5.0
"""Seconds between two signs of life."""


def main() -> int:
    os.chdir(venv.ROOT)
    command = sys.argv[1] if sys.argv[1:] else ""
    try:
        folder.check(venv.ROOT)
        if command not in NEED_NOTHING:
            asyncio.run(_install())
    except ServiceError as error:
        _say(f"\n{error}")
        return 1
    except KeyboardInterrupt:
        return 130
    if not venv.PYTHON.exists():
        print(NEED_NOTHING[command])  # noqa: T201 - the command's output
        return int(command == "doctor")
    return _go_on(sys.argv[1:])


async def _install() -> None:
    """What is missing, announced before anything is begun: the user can decline.

    Raises `MissingSoftware`, which says what to install, and `ServiceError`.
    """
    pip = ["pip"] if venv.needs_pip() else []
    services = [] if environment.given_services(os.environ) else software.missing()
    if missing := pip + services:
        if not debian.may_install():
            raise MissingSoftware(software.advice(missing))
        packages = ", ".join(software.INSTALL[name][0] for name in missing)
        _say(f"  Debian's {packages} will be installed ({debian.DECLINED}=no declines)")
    if not missing and venv.is_begun():
        return
    beat = asyncio.create_task(_show_life())
    try:
        async with side_by_side() as group:
            if pip:
                await debian.install(pip)
            group.create_task(_make_environment(whole=bool(services)))
            if services:
                group.create_task(debian.install(services))
    finally:
        beat.cancel()


async def _make_environment(*, whole: bool) -> None:
    """As much as the launcher needs, so that services start while the rest is on its way; or all
    of it, while there is nothing that could start.
    """
    await venv.begin()
    if whole:
        await venv.complete()


async def _show_life() -> None:
    begun = time.monotonic()
    _say("  … installing what the launcher needs")
    while True:
        await asyncio.sleep(BEAT)
        _say(f"  … installing {time.monotonic() - begun:.0f} s")


def _go_on(arguments: list[str]) -> NoReturn:
    command = [str(venv.PYTHON), "-m", "labkit.launcher.commands", *arguments]
    # The package index that the user has set goes on, for what is still to be installed.
    os.execve(venv.PYTHON, command, for_pip() | venv.environment())  # noqa: S606


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201 - there is no library yet


if __name__ == "__main__":
    sys.exit(main())
