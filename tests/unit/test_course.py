"""Predictions, the student's record of them, and notebooks of the student's own."""

import json
from pathlib import Path
from typing import Any

import pytest

from labkit import own_notebooks
from labkit.cli import progress as progress_command
from labkit.course import choice, number, order, predict, progress
from labkit.course.progress import exercises_of, questions
from labkit.course.record import Record
from labkit.errors import BadArgument

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.fixture(autouse=True)
def record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Record:
    monkeypatch.setenv("LAB_RECORD", str(tmp_path / "record.json"))
    return Record.own()


def test_without_a_prediction_the_measurement_is_shown_all_the_same() -> None:
    compared = predict("How many?", number("books")).compare(1, why="there is a key.")
    assert repr(compared) == "○ no prediction · it was: 1 book\nWhy: there is a key."
    assert compared.right is None


@pytest.mark.parametrize(
    ("kind", "guess", "measured", "says"),
    [
        (number("books"), "2", 2, "✓ predicted: 2 books · it was: 2 books · right"),
        (number("books"), 3, 2, "off by 1"),
        (number("calls"), 100, 1000, "10.0 times too low"),
        (number("times"), 9.5, 10.2, "close enough"),
        (choice("yes", "no"), "yes", "no", "✗ predicted: yes · it was: no · not what happened"),
        (order("a", "b", "c"), ["a", "b", "c"], ["a", "b", "c"], "a → b → c · right"),
        (order("a", "b", "c"), ["c", "a", "b"], ["a", "b", "c"], "2 of 3 pairs"),
    ],
)
def test_a_prediction_is_shown_beside_the_measurement_with_how_far_it_was_off(
    kind: Any, guess: Any, measured: Any, says: str
) -> None:
    predict("What?", kind).guess(guess)
    again = predict("What?", kind)  # as after a restart of the kernel
    assert says in repr(again.compare(measured))


@pytest.mark.parametrize(
    ("kind", "answer"),
    [(number(), "many"), (choice("yes", "no"), "perhaps"), (order("a", "b"), ["a", "a"])],
)
def test_what_is_no_answer_is_refused_with_what_would_be(kind: Any, answer: Any) -> None:
    with pytest.raises(BadArgument):
        predict("What?", kind).guess(answer)


def test_a_record_that_is_not_kept_knows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_RECORD", "")
    predict("What?", number()).guess(1)
    assert predict("What?", number()).made is None


def test_the_map_counts_what_there_is_and_what_is_done(record: Record) -> None:
    question = questions(NOTEBOOKS[1])[0]
    record.note("predictions", question, guess=1, right=True)
    record.note("exercises", exercises_of("01")[0].label(), outcome="right")
    record.note("exercises", exercises_of("01")[1].label(), outcome="wrong")
    row = progress().loc["01"].to_dict()
    assert [row[name] for name in ("predictions", "made", "right")] == [3, 1, 1]
    assert [row[name] for name in ("exercises", "solved", "stars")] == [4, 1, 1]


def test_there_are_predictions_and_exercises_in_every_lesson() -> None:
    table = progress()
    assert len(table) == len(NOTEBOOKS)
    assert (table["predictions"] > 0).all()
    assert table["predictions"].sum() >= 47
    assert (table["exercises"].loc["01":"09"] >= 4).all()


async def test_progress_is_a_table_and_csv(capsys: pytest.CaptureFixture[str]) -> None:
    import argparse

    await progress_command.run(argparse.Namespace(csv=True))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "number,notebook,predictions,made,right,exercises,solved,stars"
    assert lines[1].startswith("00,start here,")


def test_every_prediction_is_compared() -> None:
    for path in NOTEBOOKS:
        cells = json.loads(path.read_text())["cells"]
        code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
        names = [text.split(" = predict(")[0] for text in code if " = predict(" in text]
        for name in names:
            assert any(f"{name}.compare(" in text for text in code), (path.name, name)
        assert not any("> **Predict.**" in "".join(cell["source"]) for cell in cells)


def test_copies_have_no_outputs_are_never_overwritten_and_can_be_renewed(tmp_path: Path) -> None:
    originals, mine = ROOT / "notebooks", tmp_path / "my_work"
    made = own_notebooks.make(originals, mine)
    assert [path.name for path in made] == [path.name for path in NOTEBOOKS]
    copy = mine / NOTEBOOKS[4].name
    cells = json.loads(copy.read_text())["cells"]
    assert all(not c["outputs"] for c in cells if c["cell_type"] == "code")
    copy.write_text("mine")
    assert own_notebooks.make(originals, mine) == []
    assert copy.read_text() == "mine"
    new, kept = own_notebooks.renew("04", originals, mine)
    assert new == copy
    assert kept.read_text() == "mine"
    assert "cells" in json.loads(new.read_text())
    with pytest.raises(BadArgument, match="Choose one of: 00, 01"):
        own_notebooks.renew("44", originals, mine)
