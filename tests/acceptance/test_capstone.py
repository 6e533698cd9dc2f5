"""The capstone: a solution of each stage passes it, and does not pass the next one."""

import subprocess
import sys
from pathlib import Path

import pytest

from labkit import Lab, capstone
from labkit.capstone import Result, reference
from labkit.course.record import VARIABLE, Record
from labkit.errors import BadArgument, FaultImpossible

SECONDS = 8.0
"""Of the minute, here."""
MISTAKES = [
    (2, "correlation_id=correlation_id,", "correlation_id=None,", "No reply"),
    (4, 'Refusal("not_found"', 'Refusal("missing"', "has to be the error 'not_found'"),
    (5, " AND revoked_at IS NULL", "", "ok, with"),
    (7, "json.dumps([book, None])", "json.dumps(book)", "not stored"),
    (
        7,
        'return user_id, "request", request["id"]',
        'return user_id, "request", os.urandom(9).hex()',
        "two books",
    ),
    (9, "PREFETCH = 10", "PREFETCH = 1", "No reply"),
    (10, "await asyncio.gather(*server.busy)", "", "in the middle of a request"),
    (11, "DELAYS[this - 1]", "DELAYS[0]", "two retry queues"),
    (12, 'if name != "auth"', "", "API key"),
    (12, 'json.dumps({"unreadable": len(body)})', "body.decode()", "API key"),
    (13, "again = message.redelivered or attempt(message) > 1", "again = False", "a lie"),
]
"""Stage, what is wrong in its solution instead of what, and a part of what is said to it."""
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


@pytest.mark.parametrize(("stage", "right", "mistake", "says"), MISTAKES)
async def test_a_plausible_mistake_does_not_pass(
    my_server: Path, place: str, stage: int, right: str, mistake: str, says: str
) -> None:
    program = reference.solution(stage)
    assert right in program
    write(my_server, program.replace(right, mistake))
    result = await capstone.check(stage, name=place)
    assert result.outcome == "wrong", result
    assert says in result.text


async def test_all_stages_are_tried_up_to_the_first_that_is_not_right(
    my_server: Path, place: str
) -> None:
    write(my_server, reference.solution(2))
    result = await capstone.check_all(name=place)
    assert result.outcome == "wrong"
    assert result.text.startswith("Stage 3: ")


async def test_an_error_without_a_code_is_said_to_be_unreadable(
    my_server: Path, place: str
) -> None:
    write(my_server, reference.solution(2).replace('"error": None', '"error": "none"'))
    result = await capstone.check(2, name=place)
    assert "The reply cannot be read (its error has no code)" in result.text


async def test_a_program_of_ones_own_runs_beside_workers(place: str, tmp_path: Path) -> None:
    path = tmp_path / "own.py"
    write(path, "import time\ntime.sleep(60)\n")
    async with Lab.open(place) as lab:
        await lab.stop_workers()
        program = lab.start_program(path)
        await lab.start_workers(2)
        alive = lab.workers()["alive"]
        assert list(alive.index) == [
            f"lab-{place}-{n}" for n in ("program-1", "worker-2", "worker-3")
        ]
        assert alive.all()
        with pytest.raises(FaultImpossible):
            await lab.faults.hold(at="claimed")  # none of these obeys
    assert not program.alive()


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


def test_a_solution_is_a_tidy_program_and_its_changes_are_a_diff(tmp_path: Path) -> None:
    for number in STAGES:
        write(tmp_path / f"stage_{number}.py", reference.solution(number))
    options = ["--isolated", "--line-length", "100", str(tmp_path)]
    for command in (["check", "--select", "E,F,I,W,B"], ["format", "--check"]):
        ruff = [sys.executable, "-m", "ruff", *command, *options]
        done = subprocess.run(ruff, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout
    for number in STAGES:
        assert repr(capstone.changes(number)).startswith(f"--- stage {number - 1}")


@pytest.mark.parametrize("number", [0, 16, "1", None])
def test_a_stage_that_does_not_exist_is_refused_with_those_that_do(number: object) -> None:
    with pytest.raises(BadArgument, match="1 to 15"):
        capstone.stage(number)  # type: ignore[arg-type]
