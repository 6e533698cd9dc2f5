"""Notebooks of the student's own, without outputs: the answer must not stand below the question.

They are made once and never overwritten: `make lab` makes them before it starts JupyterLab.
"""

import json
import time
from pathlib import Path
from typing import Any

from labkit.errors import BadArgument
from labkit.services.environment import ROOT
from labkit.services.files import make_folder

ORIGINALS = ROOT / "notebooks"
FOLDER = "my_work"
COPIES = ROOT / FOLDER


def make(originals: Path = ORIGINALS, copies: Path = COPIES) -> list[Path]:
    """Copy what has no copy yet; returns the new ones."""
    make_folder(copies)
    new = [path for path in sorted(originals.glob("*.ipynb")) if not (copies / path.name).exists()]
    for path in new:
        _copy(path, copies / path.name)
    return [copies / path.name for path in new]


def renew(number: str, originals: Path = ORIGINALS, copies: Path = COPIES) -> tuple[Path, Path]:
    """A new copy of the notebook that begins with ``number``: it, and where the old one is now.

    Raises ``BadArgument`` if there is no such notebook.
    """
    found = sorted(originals.glob(f"{number}*.ipynb"))
    if len(found) != 1 or not number:
        names = ", ".join(path.stem[:2] for path in sorted(originals.glob("*.ipynb")))
        raise BadArgument(f"There is no notebook {number!r}. Choose one of: {names}.")
    copy = copies / found[0].name
    kept = copies / "earlier" / f"{copy.stem}-{time.strftime('%Y%m%d-%H%M%S')}.ipynb"
    if copy.exists():
        make_folder(kept.parent)
        copy.rename(kept)
    make_folder(copies)
    _copy(found[0], copy)
    return copy, kept


def _copy(original: Path, copy: Path) -> None:
    notebook = json.loads(original.read_text(encoding="utf-8"))
    for cell in notebook["cells"]:
        _empty(cell)
    copy.write_text(json.dumps(notebook, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def _empty(cell: dict[str, Any]) -> None:
    if cell["cell_type"] == "code":
        cell["outputs"], cell["execution_count"] = [], None
