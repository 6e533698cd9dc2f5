"""The capstone: a solution of each stage passes it, and does not pass the next one."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from labkit import capstone
from labkit.capstone import Result, reference
from labkit.capstone.reference import BEGINNING
from labkit.course.record import VARIABLE, Record
from labkit.errors import BadArgument

SECONDS = 15.0
"""Of the minute, here."""
STAGES = range(1, len(capstone.STAGES) + 1)


@pytest.fixture
def my_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "my_server.py"
    monkeypatch.setenv("MY_SERVER", str(path))
    monkeypatch.setenv(VARIABLE, str(tmp_path / "record.json"))
    return path


async def tried(path: Path, place: str, solution: int, stage: int) -> Result:
    path.write_text(reference.solution(solution), encoding="utf-8")
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
    print(result)
