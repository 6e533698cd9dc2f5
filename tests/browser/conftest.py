"""JupyterLab as a student has it, with notebooks of its own, in Debian's Chromium.

A screenshot of how each test ended is in `.lab/screenshots`.
"""

import asyncio
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from labkit.launcher import jupyter
from labkit.launcher.chromium import found
from labkit.services.home import Home
from labkit.services.process import recorded
from tests.browser.desk import Desk
from tests.support import ROOT

if TYPE_CHECKING:
    from playwright.sync_api import Browser

SCREENSHOTS = ROOT / ".lab" / "screenshots"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Without a Chromium there is nothing to look with: `make test` says how to get one."""
    if found() is None:
        for item in items:
            if Path(__file__).parent in item.path.parents:
                item.add_marker(pytest.mark.skip(reason="no Chromium on this machine"))


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder that JupyterLab shows; its address is in `JUPYTER_URL`."""
    root = tmp_path_factory.mktemp("student")
    shutil.copytree(ROOT / "docs", root / "docs")  # what the lessons link to
    home = Home(tmp_path_factory.mktemp("lab"))
    own = {"LAB_RECORD": str(root / "record.json"), "MY_SERVER": str(root / "my_server.py")}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in own.items():
            patch.setenv(name, value)
        try:
            asyncio.run(jupyter.up(home, root))
            patch.setenv("JUPYTER_URL", jupyter.url(home, root))
            yield root
        finally:
            for process in recorded(home.run_dir):
                asyncio.run(process.stop())


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    """While it is open its own event loop runs, so it ends before other tests begin."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=found(),
            args=["--no-sandbox"],  # which root has to do without
        )
        yield chromium
        chromium.close()


@pytest.fixture
def desk(student: Path, browser: "Browser", request: pytest.FixtureRequest) -> Iterator[Desk]:
    """A new page, on which no notebook is open yet."""
    context = browser.new_context(viewport={"width": 1280, "height": 720})
    page = context.new_page()
    try:
        yield Desk(page, os.environ["JUPYTER_URL"], student)
    finally:
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=SCREENSHOTS / f"{request.node.name}.png")
        context.close()
        shutil.rmtree(student / "scratch", ignore_errors=True)
