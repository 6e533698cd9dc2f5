"""The capstone: a solution of each stage passes it, and does not pass the next one."""

from pathlib import Path

import pytest

from labkit import capstone
from labkit.capstone import Result, reference
from labkit.course.record import VARIABLE, Record
from labkit.errors import BadArgument

SECONDS = 8.0
"""Of the minute, here."""
STAGES = range(1, len(capstone.STAGES) + 1)


@pytest.fixture
def my_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "my_server.py"
    monkeypatch.setenv("MY_SERVER", str(path))
    monkeypatch.setenv(VARIABLE, str(tmp_path / "record.json"))
    return path


def write(path: Path, program: str) -> None:
    path.write_text(program, encoding="utf-8")


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


async def tried(path: Path, place: str, solution: int, stage: int) -> Result:
    write(path, reference.solution(solution))
    return await capstone.check(stage, name=place, seconds=SECONDS)


@pytest.mark.parametrize("stage", STAGES)
async def test_a_stage_is_passed_by_its_solution(my_server: Path, place: str, stage: int) -> None:
    result = await tried(my_server, place, stage, stage)
    assert result.outcome == "right", result
    solved = Record.own().section("exercises")[capstone.stage(stage).label()]
    assert solved["outcome"] == "right"


@pytest.mark.parametrize("stage", STAGES[1:])
async def test_a_stage_is_not_passed_by_the_solution_of_the_one_before(
    my_server: Path, place: str, stage: int
) -> None:
    result = await tried(my_server, place, stage - 1, stage)
    assert result.outcome == "wrong", result
    assert result.text in repr(result)


async def test_a_failure_is_explained_by_the_story_of_its_request(place: str) -> None:
    result = await capstone.check(2, solution_of=1, name=place)
    assert result.story is not None
    assert "api.requests → worker: deliver" in repr(result)
    assert "received" in result.log
    shown = result._repr_mimebundle_()
    assert "```mermaid\nsequenceDiagram" in shown["text/markdown"]


async def test_a_program_that_cannot_start_is_shown_with_its_last_words(
    my_server: Path, place: str
) -> None:
    write(my_server, "import nothing_of_this_name\n")
    result = await capstone.check(1, name=place)
    assert result.outcome == "wrong"
    assert "No module named 'nothing_of_this_name'" in result.text


async def test_an_empty_file_is_no_attempt_and_one_that_exists_is_kept(
    my_server: Path, place: str
) -> None:
    assert (await capstone.check(1)).outcome == "not attempted"
    assert (await capstone.check_all()).outcome == "not attempted"
    write(my_server, "mine\n")
    assert (await capstone.check(1, name=place)).outcome == "wrong"
    assert read(capstone.my_server()) == "mine\n"


def test_each_stage_says_what_it_asks_and_helps_in_steps(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for number in STAGES:
        stage = capstone.stage(number)
        assert stage.title in repr(stage)
        assert stage.stars in (1, 2, 3)
        for tip in stage.tips:
            capstone.hint(number)
            assert tip in capsys.readouterr().out
        assert len(stage.tips) >= 2


def test_a_solution_is_a_program_and_its_changes_are_a_diff() -> None:
    for number in STAGES:
        compile(repr(capstone.solution(number)), f"stage {number}", "exec")
        assert repr(capstone.changes(number)).startswith(f"--- stage {number - 1}")


@pytest.mark.parametrize("number", [0, 16, "1", None])
def test_a_stage_that_does_not_exist_is_refused_with_those_that_do(number: object) -> None:
    with pytest.raises(BadArgument, match="1 to 15"):
        capstone.stage(number)  # type: ignore[arg-type]
