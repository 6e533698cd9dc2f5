"""Every drawing has a title and a text, for those who do not see it."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted(ROOT.glob("notebooks/*.ipynb"))
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
DRAWING = re.compile(r"```mermaid\n(.*?)```", re.DOTALL)


def drawings(page: Path) -> Iterator[str]:
    if page.suffix == ".md":
        yield from DRAWING.findall(page.read_text(encoding="utf-8"))
        return
    for cell in json.loads(page.read_text(encoding="utf-8"))["cells"]:
        yield from DRAWING.findall("".join(cell["source"]))
        for output in cell.get("outputs", []):
            if drawn := output.get("data", {}).get("text/vnd.mermaid"):
                yield "".join(drawn)


@pytest.mark.parametrize("page", [*NOTEBOOKS, *PAGES], ids=lambda page: page.name)
def test_a_drawing_has_a_title_and_a_description(page: Path) -> None:
    for drawing in drawings(page):
        assert "accTitle: " in drawing
        assert "accDescr: " in drawing


def test_there_are_drawings() -> None:
    assert sum(len(list(drawings(page))) for page in [*NOTEBOOKS, *PAGES]) >= 10
