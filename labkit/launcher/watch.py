"""`make lab`: the lab in the foreground, until Ctrl-C."""

import asyncio
import os
import sys

from filelock import FileLock, Timeout

from labkit.launcher import browser, lab, supervisor
from labkit.launcher.steps import Steps
from labkit.services import environment
from labkit.services.home import Home
from labkit.services.process import Process, load

PAUSE = 0.5
"""Seconds between two looks at whether everything lives."""


async def run(steps: Steps) -> int:
    """Start everything, say where it is, and watch it; Ctrl-C stops everything. Returns exit code.

    A second one says where the first one's lab is, and leaves.
    """
    ours = lab.home()
    ours.make()
    try:
        with FileLock(ours.path / "foreground.lock", mode=0o600, blocking=False):
            await _in_foreground(ours, steps)
    except Timeout:
        async with lab.exclusive(steps):  # until the first one has started it
            steps.say(_elsewhere(ours))
    return 0


async def _in_foreground(ours: Home, steps: Steps) -> None:
    try:
        await lab.up(steps, with_jupyter=True)
        steps.say(lab.addresses(ours) + "\n\n  Ctrl-C ends the lab; your data stays.\n")
        _open_browser(ours)
        await _watch(ours, steps)
    except asyncio.CancelledError:
        if (task := asyncio.current_task()) is not None:
            task.uncancel()  # it is over with what was cancelled: ending the lab
        steps.say("\n  Ending the lab …")
        await lab.down(steps)


def _elsewhere(ours: Home) -> str:
    if not ours.env_file.exists():
        return "The lab in another terminal has just ended. Start it again: make lab"
    return "The lab runs already, in another terminal:\n" + lab.addresses(ours)


async def _watch(ours: Home, steps: Steps) -> None:
    """Returns when the lab was stopped with `make down`."""
    dead: set[int] = set()
    known: dict[str, Process] = {}
    while ours.env_file.exists():
        _look(ours, known, steps)
        for process in known.values():
            if process.alive() or process.pid in dead or not process.wanted():
                continue
            if supervisor.supervises(ours, process.name) is None:  # else it is started again
                dead.add(process.pid)
                steps.say(_obituary(process))
        await asyncio.sleep(PAUSE)
    steps.say("  The lab was stopped by `make down`.")


def _look(ours: Home, known: dict[str, Process], steps: Steps) -> None:
    """Which processes there are now; says so if one was started again."""
    for name in lab.LONG_LIVED:
        process = load(name, ours.run_dir)
        if process is None:
            continue
        if known.get(name, process) != process:
            steps.say(f"\n  {name} ended, and was started again. Its log: {process.log}\n")
        known[name] = process


def _obituary(process: Process) -> str:
    return (
        f"\n  ✗ {process.name} has ended. The end of its log, {process.log}:\n"
        f"{process.log_tail()}\n  Start it again, in another terminal: make up\n"
    )


def _open_browser(ours: Home) -> None:
    """Only where a person sits in front of it."""
    display = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    has_display = display or sys.platform == "darwin"
    if has_display and sys.stdout.isatty() and not os.environ.get("CI") and os.geteuid() != 0:
        browser.open_page(environment.read_env(ours.env_file)["JUPYTER_URL"])
