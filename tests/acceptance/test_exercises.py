"""Every exercise: untouched, solved as its solution is printed, and put again."""

from importlib import import_module

import pytest

from labkit import Lab
from labkit.exercises import Exercise
from tests.acceptance.lesson_labs import LabOf, lab_of
from tests.support import paste

__all__ = ["lab_of"]

LESSONS = [*(f"{number:02}" for number in range(1, 10)), "11"]
KINDS = [k for n in LESSONS for k in import_module(f"labkit.exercises.lesson_{n}").EXERCISES]


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.label())
async def test_no_attempt_is_known_from_a_solution_and_it_can_be_put_again(
    lab_of: LabOf, kind: type[Exercise]
) -> None:
    exercise = await kind(await lab_of(kind.label()[:2])).begin()
    assert (await exercise.check()).outcome == "not attempted"
    await paste(exercise)
    found = await exercise.check()
    assert found.outcome == "right", found
    await exercise.begin()
    assert (await exercise.check()).outcome == "not attempted"


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.label())
def test_each_says_how_hard_it_is_and_helps_in_steps(
    kind: type[Exercise], capsys: pytest.CaptureFixture[str]
) -> None:
    assert kind.stars in (1, 2, 3)
    assert 1 <= kind.minutes <= 10
    exercise = kind(Lab.open("never-opened"))
    shown = repr(exercise)
    assert kind.title in shown
    for tip in kind.tips:
        exercise.hint()
        assert tip in capsys.readouterr().out
    assert 2 <= len(kind.tips) <= 3


@pytest.mark.parametrize("number", LESSONS)
def test_each_lesson_has_four_that_get_harder(number: str) -> None:
    kinds = import_module(f"labkit.exercises.lesson_{number}").EXERCISES
    stars = [kind.stars for kind in kinds]
    assert len(kinds) >= 4
    assert stars == sorted(stars)
