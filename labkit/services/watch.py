"""`make lab`: the lab in the foreground, until Ctrl-C."""

import os
import sys
import time

from labkit.services import browser, environment, lab, lock, supervisor
from labkit.services.layout import Home
from labkit.services.process import Process, load
from labkit.services.progress import Progress
from labkit.services.signals import Interrupted

PAUSE = 0.5
"""Seconds between two looks at whether everything lives."""


def run(progress: Progress) -> int:
    """Start everything, say where it is, and watch it; Ctrl-C stops everything. Returns exit code.

    A second one says where the first one's lab is, and leaves.
    """
    place = lab.home()
    place.make()
    with lock.only_one(place.path / "foreground.lock") as first:
        if not first:
            with lock.exclusive(place.path / "lock"):  # until the first one has started it
                progress.say(_elsewhere(place))
            return 0
        try:
            lab.up(progress, with_jupyter=True)
            progress.say(lab.addresses(place) + "\n\n  Ctrl-C ends the lab; your data stays.\n")
            _open_browser(place)
            return _watch(place, progress)
        except Interrupted:
            progress.say("\n  Ending the lab …")
            lab.down(progress)
            return 0


def _elsewhere(place: Home) -> str:
    if not place.env_file.exists():
        return "The lab in another terminal has just ended. Start it again: make lab"
    return "The lab runs already, in another terminal:\n" + lab.addresses(place)


def _watch(place: Home, progress: Progress) -> int:
    """Returns when the lab was stopped with `make down`."""
    dead: set[int] = set()
    known: dict[str, Process] = {}
    while True:
        _look(place, known, progress)
        for process in known.values():
            if process.alive() or process.pid in dead or not process.recorded():
                continue
            if supervisor.supervises(place, process.name):
                continue  # it is started again
            dead.add(process.pid)
            progress.say(_obituary(process))
        if not place.env_file.exists():
            progress.say("  The lab was stopped by `make down`.")
            return 0
        time.sleep(PAUSE)


def _look(place: Home, known: dict[str, Process], progress: Progress) -> None:
    """Which processes there are now; says so if one was started again."""
    for name in lab.LONG_LIVED:
        process = load(name, place.run_dir)
        if process is None:
            continue
        if known.get(name, process) != process:
            progress.say(f"\n  {name} ended, and was started again. Its log: {process.log}\n")
        known[name] = process


def _obituary(process: Process) -> str:
    return (
        f"\n  ✗ {process.name} has ended. The end of its log, {process.log}:\n"
        f"{process.log_tail()}\n  Start it again, in another terminal: make up\n"
    )


def _open_browser(place: Home) -> None:
    """Only where a person sits in front of it."""
    display = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    has_display = display or sys.platform == "darwin"
    if has_display and sys.stdout.isatty() and not os.environ.get("CI") and os.geteuid() != 0:
        browser.open_page(environment.read_env(place.env_file)["JUPYTER_URL"])
