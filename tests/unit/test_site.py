"""The sources of the site: every page is in it, and every link leads somewhere."""

import itertools
import json
import re
from pathlib import Path, PurePosixPath

import pytest

from reference.site.pages import LINK, Site
from tests.support import ROOT

README = PurePosixPath("README.md")
LESSON = PurePosixPath("notebooks/04_idempotency.ipynb")
HOME = "https://example.org/blob/main"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    Site(ROOT, HOME).write(folder)
    return folder


def test_every_notebook_and_document_is_in_the_navigation(written: Path) -> None:
    start = (written / "index.md").read_text()
    for path in [*ROOT.glob("notebooks/*.ipynb"), *ROOT.glob("docs/*.md")]:
        assert f"\n{path.relative_to(ROOT).with_suffix('')}\n" in start


def test_every_link_leads_to_a_page_or_into_the_repository(written: Path) -> None:
    for path in [*written.rglob("*.md"), *written.rglob("*.ipynb")]:
        for _, target, _ in LINK.findall(_prose(path)):
            if not re.match(r"[a-z]+:", target):
                assert (path.parent / target).exists(), (path, target)


def _prose(path: Path) -> str:
    if path.suffix == ".md":
        return path.read_text()
    cells = json.loads(path.read_text())["cells"]
    return "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")


def test_a_source_file_is_linked_where_it_can_be_read_and_else_it_is_text() -> None:
    text = "[the client](labkit/client/amqp.py), [04](notebooks/04_idempotency.ipynb#keys)"
    there = Site(ROOT, HOME).linked(text, README)
    assert there.startswith(f"[the client]({HOME}/labkit/client/amqp.py), [04](notebooks/04")
    assert Site(ROOT).linked(text, README).startswith("the client, [04](notebooks/04")


def test_the_story_of_a_request_is_a_diagram_on_the_site(written: Path) -> None:
    cells = json.loads((written / LESSON).read_text())["cells"]
    outputs = [output.get("data", {}) for c in cells for output in c.get("outputs", [])]
    drawn = ["".join(data["text/markdown"]) for data in outputs if "text/markdown" in data]
    assert any(each.startswith("```mermaid\nsequenceDiagram") for each in drawn)
    assert not any("text/vnd.mermaid" in data for data in outputs)


@pytest.mark.parametrize("path", sorted(ROOT.glob("docs/**/*.md")), ids=lambda path: path.name)
def test_no_document_skips_a_level_of_headings(path: Path) -> None:
    """Sphinx warns of it, and `make site` takes no warning."""
    prose = re.sub(r"^```.*?^```", "", path.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    levels = [len(marks) for marks in re.findall(r"^(#+) ", prose, re.MULTILINE)]
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
