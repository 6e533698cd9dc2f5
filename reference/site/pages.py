"""The pages of the site, from the files of the clone: copied, and changed where a site differs.

A link to what the site does not have, a source file, leads to the repository. The broker's stories
are diagrams: JupyterLab draws them by itself, here they become Markdown.
"""

import json
import posixpath
import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any

LINK = re.compile(r"(\[[^\]]*\])\(([^)\s#]+)(#[^)]*)?\)")
MERMAID, MARKDOWN = "text/vnd.mermaid", "text/markdown"
LESSONS, MANUAL = "notebooks/*.ipynb", "docs/*.md"
DECISIONS = "docs/decisions"
PROJECT = ("CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")
FIRST = ("glossary", "teaching", "api", "reliability", "performance", "architecture")
"""Of the manual, in this order; the others follow."""


class Site:
    """``root`` is the clone, ``repository`` where its files can be read, if there is such a page:
    ``https://github.com/owner/name/blob/main``.
    """

    def __init__(self, root: Path, repository: str | None = None) -> None:
        self._root = root
        self._repository = repository
        found = [*root.glob(LESSONS), *root.glob(MANUAL), *root.glob(f"{DECISIONS}/*.md")]
        names = [path.relative_to(root).as_posix() for path in found]
        self.pages = {PurePosixPath(name) for name in (*names, *PROJECT, "README.md")}

    def write(self, folder: Path) -> None:
        """All sources of the site, and two pages that only it has: its start, and the list of the
        decisions.
        """
        for page in self.pages:
            text = (self._root / page).read_text(encoding="utf-8")
            changed = self._notebook(text, page) if page.suffix == ".ipynb" else None
            _write(folder / page, changed or self.linked(text, page))
        _write(folder / DECISIONS / "index.md", f"# Decisions\n\n{_contents(['*'], glob=True)}")
        start = (folder / "README.md").read_text(encoding="utf-8")
        _write(folder / "index.md", f"{start}\n{self._navigation()}")
        (folder / "README.md").unlink()

    def linked(self, text: str, page: PurePosixPath) -> str:
        """``text`` of ``page`` with links that lead somewhere."""
        return LINK.sub(lambda found: self._link(page, *found.groups("")), text)

    def _link(self, page: PurePosixPath, text: str, target: str, anchor: str) -> str:
        if re.match(r"[a-z]+:", target):
            return f"{text}({target}{anchor})"
        path = PurePosixPath(posixpath.normpath(page.parent / target))
        if path in self.pages:
            name = "index.md" if path.name == "README.md" else target
            return f"{text}({name}{anchor})"
        if str(path) == DECISIONS:
            return f"{text}({target.rstrip('/')}/index.md)"
        return f"{text}({self._repository}/{path})" if self._repository else text[1:-1]

    def _notebook(self, text: str, page: PurePosixPath) -> str:
        notebook = json.loads(text)
        for cell in notebook["cells"]:
            if cell["cell_type"] == "markdown":
                cell["source"] = self.linked("".join(cell["source"]), page)
            for output in cell.get("outputs", []):
                _draw(output.get("data", {}))
        return json.dumps(notebook, ensure_ascii=False)

    def _navigation(self) -> str:
        lessons = sorted(str(p.with_suffix("")) for p in self.pages if p.suffix == ".ipynb")
        manual = {p.stem for p in self.pages if str(p.parent) == "docs"}
        rest = sorted(manual - set(FIRST))
        pages = [f"docs/{stem}" for stem in (*FIRST, *rest)]
        project = [f"{DECISIONS}/index", *(name.removesuffix(".md") for name in PROJECT)]
        return "\n".join(
            _contents(names, caption=caption)
            for caption, names in (("Lessons", lessons), ("Manual", pages), ("Project", project))
        )


def _draw(data: dict[str, Any]) -> None:
    if MERMAID in data:
        diagram = "".join(data.pop(MERMAID))
        data.clear()
        data[MARKDOWN] = f"```mermaid\n{diagram}\n```"


def _contents(names: Iterable[str], *, caption: str = "", glob: bool = False) -> str:
    """A table of contents, which Sphinx shows as navigation."""
    options = [f":caption: {caption}", ":hidden:"] if caption else []
    options += [":glob:"] if glob else []
    return "\n".join(["```{toctree}", *options, "", *names, "```", ""])


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
