"""The capstone, stage by stage: ``stage``, ``check``, ``hint`` and ``solution``, for a notebook."""

import os
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from labkit.capstone import basics, failures, minute, promises, reference
from labkit.capstone.stage import Result, Stage
from labkit.capstone.trial import Broken, Trial
from labkit.course.record import FOLDER, Record
from labkit.errors import BadArgument, NoStory
from labkit.exercises.exercise import print_tip
from labkit.lab import Lab
from labkit.ui.progress import StatusLine
from labkit.ui.source import Source

STAGES: list[Stage] = [*basics.STAGES, *promises.STAGES, *failures.STAGES, minute.MINUTE]
VARIABLE = "MY_SERVER"
"""Another file to check: for the tests."""
RETRY_DELAYS = "0.2,0.4,0.8"
MINUTE = 60.0
LAST_LINES = 6
_hints: Counter[int] = Counter()


def my_server() -> Path:
    """The student's program. It is made, with nothing in it, if it does not exist."""
    path = Path(os.environ.get(VARIABLE) or FOLDER / "my_server.py")
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(reference.BEGINNING, encoding="utf-8")
    return path


def stage(number: int) -> Stage:
    """What it asks for. Raises ``BadArgument`` if there is no such stage."""
    if not isinstance(number, int) or not 1 <= number <= len(STAGES):
        raise BadArgument(f"There is no stage {number!r}: there is 1 to {len(STAGES)}.")
    return STAGES[number - 1]


async def check(
    number: int, *, solution_of: int | None = None, name: str = "10", seconds: float = MINUTE
) -> Result:
    """Run the student's program in a lab ``name`` of its own, and try it; or instead of it the
    ``solution_of`` a stage. A load, where there is one, lasts so many ``seconds``. Their record
    keeps the outcome.

    Raises ``LabNotRunning`` and ``LabInUse`` as ``Lab.open`` does.
    """
    this, path = stage(number), my_server()
    if solution_of is not None:
        with TemporaryDirectory() as folder:
            path = Path(folder) / path.name
            path.write_text(reference.solution(stage(solution_of).number), encoding="utf-8")
            return await _tried(this, path, name, seconds)
    if path.read_bytes() == reference.BEGINNING.encode():  # whatever encoding it may have later
        return Result("not attempted", f"Nothing is in {path.name} yet.")
    result = await _tried(this, path, name, seconds)
    Record.own().note_attempt(this.label(), result.outcome)
    return result


async def _tried(this: Stage, path: Path, name: str, seconds: float) -> Result:
    line = StatusLine()
    line.show(f"Stage {this.number}: a lab is opened …")
    try:
        async with Lab.open(name, private=this.private, retry_delays=RETRY_DELAYS) as lab:
            await lab.stop_workers()  # it has made the queues, the tables and the key
            async with lab.record() as recording:
                line.show(f"Stage {this.number}: your server is tried …")
                client = await lab.client()
                trial = Trial(lab, path, client, recording, seconds, line.show)
                found, request_id = await _found(this, trial)
            with suppress(NoStory):
                return replace(found, story=await lab.story(request_id))
            return found
    finally:
        line.clear()


async def _found(this: Stage, trial: Trial) -> tuple[Result, str]:
    """The result, and the request that shows it, if one does."""
    try:
        return Result("right", await this.check(trial)), ""
    except Broken as broken:
        return Result("wrong", str(broken), log=_last_words(trial)), broken.request_id
    finally:
        await trial.end()


def _last_words(trial: Trial) -> str:
    return trial.servers[-1].log_tail(LAST_LINES) if trial.servers else ""


async def check_all(*, name: str = "10") -> Result:
    """Stage after stage, up to the first that is not right: what you built must stay."""
    result = Result("not attempted", f"Nothing is in {my_server().name} yet.")
    for each in STAGES:
        result = await check(each.number, name=name)
        if result.outcome != "right":
            return replace(result, text=f"Stage {each.number}: {result.text}")
    return replace(result, text=f"All {len(STAGES)} stages. {result.text}")


def hint(number: int) -> None:
    """Print the next hint of this stage; after the last one, all of them."""
    print_tip(stage(number).tips, _hints[number])
    _hints[number] += 1


def solution(number: int) -> Source:
    """A program that passes this stage, and all before it."""
    return Source(reference.solution(stage(number).number).rstrip())


def changes(number: int) -> Source:
    """What a solution of this stage changes in one of the stage before, as a diff."""
    return Source(reference.difference(stage(number).number), "diff")
