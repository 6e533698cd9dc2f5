"""What workers report of the steps that they reach: a file of JSON lines in the folder of the plan.

    {"at": seconds since 1970, "pid": …, "step": "committed", "request_id": "…"}

They write only if the file is there: a lab that records makes it. A worker that is killed has said
what it had reached, since each line is written at once.
"""

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path

FILE = "steps.jsonl"


@dataclass(frozen=True)
class Report:
    at: float
    pid: int
    step: str
    request_id: str | None


def begin(folder: Path) -> None:
    """From now on workers report; what was reported before is gone."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FILE).write_text("")


def end(folder: Path) -> None:
    """Workers report no more."""
    (folder / FILE).unlink(missing_ok=True)


def note(folder: Path, step: str, request_id: str | None) -> None:
    """The worker's side. A line is shorter than what the system writes in one piece."""
    try:
        descriptor = os.open(folder / FILE, os.O_WRONLY | os.O_APPEND)
    except FileNotFoundError:
        return
    report = {"at": time.time(), "pid": os.getpid(), "step": step, "request_id": request_id}
    try:
        os.write(descriptor, json.dumps(report).encode() + b"\n")
    finally:
        os.close(descriptor)


def read(folder: Path) -> list[Report]:
    """In the order in which they were written; a line that a killed worker cut off is left out."""
    try:
        lines = (folder / FILE).read_text(errors="replace").splitlines()
    except FileNotFoundError:
        return []
    found = []
    for line in lines:
        try:
            found.append(Report(**json.loads(line)))
        except (ValueError, TypeError):
            continue
    return found
