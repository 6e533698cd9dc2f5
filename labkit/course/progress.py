"""The map of the course: what there is in each notebook, and what of it a student has done."""

import json
import re
from importlib import import_module
from pathlib import Path
from typing import Any

import pandas as pd

from labkit.course.record import Record
from labkit.services.environment import ROOT

QUESTION = re.compile(r'predict\(\s*((?:"[^"]*"\s*)+)')
CAPSTONE = "10"
COLUMNS = ["notebook", "predictions", "made", "right", "exercises", "solved", "stars"]


def progress(record: Record | None = None) -> pd.DataFrame:
    """One row for each notebook, by its number.

    Columns: ``notebook`` (str); ``predictions`` that it asks for, ``made`` and ``right`` (int64);
    ``exercises``, those that are ``solved``, and their ``stars`` (int64).
    """
    record = record or Record.own()
    rows = {path.stem[:2]: _row(path, record) for path in _notebooks()}
    return pd.DataFrame.from_dict(rows, orient="index", columns=COLUMNS)


def _notebooks() -> list[Path]:
    return sorted((ROOT / "notebooks").glob("*.ipynb"))


def _row(path: Path, record: Record) -> list[object]:
    number = path.stem[:2]
    made = record.section("predictions")
    asked = [made.get(question, {}) for question in questions(path)]
    exercises = exercises_of(number)
    outcomes = record.section("exercises")
    solved = [
        kind for kind in exercises if outcomes.get(kind.label(), {}).get("outcome") == "right"
    ]
    return [
        path.stem[3:].replace("_", " "),
        len(asked),
        sum("guess" in each for each in asked),
        sum(bool(each.get("right")) for each in asked),
        len(exercises),
        len(solved),
        sum(kind.stars for kind in solved),
    ]


def questions(path: Path) -> list[str]:
    """Those of its cells, as they are written there."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    return ["".join(re.findall(r'"([^"]*)"', found)) for found in QUESTION.findall(code)]


def exercises_of(number: str) -> list[Any]:
    """In the order in which they are put; of the capstone, its stages."""
    if number == CAPSTONE:
        return list(import_module("labkit.capstone").STAGES)
    try:
        module = import_module(f"labkit.exercises.lesson_{number}")
    except ModuleNotFoundError:
        return []
    return list(module.EXERCISES)
