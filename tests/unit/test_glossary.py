"""The glossary is complete in itself, and leads to the lessons."""

import json
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
ENTRY = re.compile(r"^## (.+)\n\n(.+) \[(\d\d)\]\(\.\./(notebooks/\3_\w+\.ipynb)\)$", re.MULTILINE)
ENTRIES = [(term, text, notebook) for term, text, _, notebook in ENTRY.findall(TEXT)]


def words_of(notebook: Path) -> str:
    """What it says itself, without its outputs."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return " ".join("".join(cell["source"]) for cell in cells).lower()


def test_every_entry_has_a_term_a_definition_and_a_lesson() -> None:
    assert len(ENTRIES) == TEXT.count("\n## ") >= 60
    for term, definition, notebook in ENTRIES:
        assert len(re.findall(r"[.?](?: |$)", definition)) == 2, term
        assert (ROOT / notebook).exists(), term


def test_the_lesson_of_a_term_uses_it() -> None:
    for term, _, notebook in ENTRIES:
        said = words_of(ROOT / notebook)
        # Five letters of each word: "idempotent" is also an idempotency key.
        assert all(word[:5] in said for word in term.lower().split()), (term, notebook)


def test_terms_are_in_order_and_there_once() -> None:
    terms = [term.lower() for term, _, _ in ENTRIES]
    assert terms == sorted(set(terms))


def anchor(term: str) -> str:
    """As GitHub and the site make it of a heading."""
    return term.lower().replace(" ", "-")


def prose_of(notebook: Path) -> str:
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")


def test_the_lesson_of_a_term_links_to_its_entry() -> None:
    for term, _, notebook in ENTRIES:
        assert f"../docs/glossary.md#{anchor(term)})" in prose_of(ROOT / notebook), (term, notebook)


def test_every_link_to_the_glossary_finds_an_entry() -> None:
    anchors = {anchor(term) for term, _, _ in ENTRIES}
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        linked = re.findall(r"glossary\.md#([^)]*)\)", prose_of(path))
        assert set(linked) <= anchors, path.name


def test_every_notebook_leads_to_it() -> None:
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        first = json.loads(path.read_text(encoding="utf-8"))["cells"][0]
        assert "../docs/glossary.md" in "".join(first["source"]), path.name
