"""What a student predicted and solved: one JSON file of theirs, which git does not see."""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock

from labkit.services.environment import ROOT
from labkit.services.files import make_folder, read_json, write_json

FOLDER = ROOT / "my_work"
"""Of the student: copies of the notebooks, and the record."""
VARIABLE = "LAB_RECORD"
"""Another file to keep it in; empty to keep none, so that a notebook's outputs depend on nothing
that was done before: for the tests, and for storing outputs.
"""


class Record:
    """``{"predictions": {question: …}, "exercises": {"01/OneStays": …}}``; read at each use, for
    every notebook has a kernel of its own.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path

    @classmethod
    def own(cls) -> "Record":
        """The student's."""
        given = os.environ.get(VARIABLE)
        if given is None:
            return cls(FOLDER / "record.json")
        return cls(Path(given) if given else None)

    def section(self, name: str) -> dict[str, dict[str, Any]]:
        found = read_json(self._path).get(name) if self._path else None
        return found if isinstance(found, dict) else {}

    def note_attempt(self, label: str, outcome: str) -> None:
        """How an exercise, or a stage, was judged. What is solved once stays solved."""
        before = self.section("exercises").get(label, {}).get("outcome")
        if before != "right" and outcome != "not attempted":
            self.note("exercises", label, outcome=outcome)

    def note(self, section: str, name: str, **facts: Any) -> None:
        """Add these facts to what is known of it, with the time."""
        if self._path is None:
            return
        make_folder(self._path.parent)
        with FileLock(self._path.with_suffix(".lock"), mode=0o600):
            everything = read_json(self._path)
            known = everything.setdefault(section, {})
            at = datetime.now(UTC).isoformat(timespec="seconds")
            known[name] = known.get(name, {}) | facts | {"at": at}
            write_json(self._path, everything)
