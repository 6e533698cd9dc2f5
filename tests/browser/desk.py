"""What a student does in JupyterLab, and sees there."""

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

LONG = 20_000
"""Milliseconds: a notebook may run for a minute."""
DONE = re.compile(r"\[\d+\]:")
IDLE = ".jp-Notebook-ExecutionIndicator[data-status='idle']"
RUN = """before => {
    const prompts = [...document.querySelectorAll(".jp-CodeCell .jp-InputPrompt")]
        .map(prompt => prompt.innerText)
    return !prompts.includes("[*]:") && prompts.some((prompt, number) => prompt != before[number])
}"""


class Desk:
    """One page of JupyterLab at `url`, which shows the folder `root`."""

    def __init__(self, page: "Page", url: str, root: Path) -> None:
        self.page = page
        self._url = urlsplit(url)
        self._root = root
        page.set_default_timeout(LONG)

    def open(self, notebook: str, *, theme: str = "Light") -> None:
        """In a workspace that no earlier test has touched."""
        there = f"{self._url.scheme}://{self._url.netloc}/lab/tree/{notebook}"
        self.page.goto(f"{there}?{self._url.query}&reset")
        self.page.wait_for_selector(f".jp-Notebook, {IDLE}")
        self.page.get_by_text("| Idle").wait_for()
        if theme == "Dark":
            self.command("Settings", "Theme", "JupyterLab Dark")

    def write(self, name: str, *cells: str) -> str:
        """A notebook of these cells; its path."""
        made: list[dict[str, Any]] = [
            {
                "cell_type": "code",
                "id": f"cell-{number}",
                "metadata": {},
                "source": source,
                "outputs": [],
                "execution_count": None,
            }
            for number, source in enumerate(cells)
        ]
        kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3 (ipykernel)"}}
        notebook = {"cells": made, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}
        path = self._root / "scratch" / f"{name}.ipynb"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(notebook))
        return f"scratch/{path.name}"

    def command(self, *path: str) -> None:
        """One of the menu bar's."""
        self.page.click(f".lm-MenuBar-itemLabel:text-is('{path[0]}')")
        for name in path[1:-1]:
            self.page.hover(f".lm-Menu-itemLabel:text-is('{name}')")
        self.page.click(f".lm-Menu-itemLabel:text-is('{path[-1]}')")

    def run_all(self) -> None:
        """From the top; returns when the last cell is done, or one has failed.

        The kernel says that it is idle before the first cell reaches it, too: so this waits for a
        prompt that is no longer what it was, and for the last of those that are still `[*]`.
        """
        prompts = self.page.locator(".jp-CodeCell .jp-InputPrompt")
        before = prompts.all_inner_texts()
        self.command("Run", "Run All Cells")
        self.page.wait_for_function(RUN, arg=before)
        self.page.wait_for_selector(IDLE)

    def cell(self, text: str) -> "Locator":
        """The code cell with this text in its source."""
        return self.page.locator(".jp-CodeCell", has_text=text).first

    def run(self, text: str) -> "Locator":
        """Run the code cell with this text, and return it when it is done."""
        cell = self.cell(text)
        prompt = cell.locator(".jp-InputPrompt")
        before = prompt.inner_text()
        cell.locator(".cm-content").click()
        self.page.keyboard.press("Control+Enter")
        prompt.filter(has_not_text=before).filter(has_text=DONE).wait_for()
        return cell

    def replace(self, text: str, source: str) -> None:
        """Write other source into the cell with this text."""
        self.cell(text).locator(".cm-content").click()
        self.page.keyboard.press("Control+a")
        self.page.keyboard.insert_text(source)

    def output(self, text: str) -> str:
        """What the code cell with this text has put out, once it is shown, in view or not."""
        outputs = self.cell(text).locator(".jp-OutputArea-output")
        outputs.filter(has_text=re.compile(r"\S")).first.wait_for(state="attached")
        return " ".join(filter(None, outputs.all_text_contents()))

    def drawing(self, text: str) -> str:
        """The picture in the output of this cell, once it is drawn, as SVG."""
        picture = self.cell(text).locator(".jp-RenderedMermaid img").last
        return unquote(picture.get_attribute("src") or "")

    def errors(self) -> list[str]:
        """The first lines of all tracebacks that are shown."""
        shown = self.page.locator("[data-mime-type='application/vnd.jupyter.error']")
        return [text[:200] for text in shown.all_inner_texts()]
