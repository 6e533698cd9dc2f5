"""The browser of the tests: Debian's Chromium, with Playwright to drive it."""

import shutil

from labkit.launcher import venv

NAMES = ("chromium", "chromium-browser", "google-chrome")
REQUIREMENTS = venv.ROOT / "tests" / "browser" / "requirements.txt"
ADVICE = "none: the tests in a browser are skipped (Debian: sudo apt install chromium)"


def found() -> str | None:
    """The program, if there is one on this machine."""
    return next(filter(None, map(shutil.which, NAMES)), None)


async def complete() -> str:
    """What drives it is installed; says where it is. Without one, nothing is."""
    program = found()
    if program is None:
        return ADVICE
    await venv.add(REQUIREMENTS)
    return program
