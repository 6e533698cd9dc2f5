"""What every exercise can do: ``check()``, ``hint()`` and ``solution()``."""

import inspect
import textwrap
from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import ClassVar

import asyncpg
import pandas as pd

from labkit.errors import BrokerAway, LabNotOpen
from labkit.lab import Lab


@dataclass(frozen=True)
class Assessment:
    """How an exercise stands. A notebook shows it as a line of text."""

    outcome: str
    """``not attempted``, ``wrong``, ``right`` or ``lab broken``."""
    text: str

    _SIGNS: ClassVar[dict[str, str]] = {
        "not attempted": "○ Not attempted yet.",
        "wrong": "✗ Not yet.",
        "right": "✓ Right.",
        "lab broken": "! The lab is broken, not your answer.",
    }

    def __repr__(self) -> str:
        return f"{self._SIGNS[self.outcome]} {self.text}"


def not_attempted(text: str) -> Assessment:
    return Assessment("not attempted", text)


def wrong(text: str) -> Assessment:
    """``text`` says what was seen, and what it probably comes from."""
    return Assessment("wrong", text)


def right(text: str) -> Assessment:
    return Assessment("right", text)


class Exercise(ABC):
    """One question. It looks at what the student's code did to the lab, never at the code.

    A subclass has the question as its docstring, ``tip``, ``look()``, and an ``answer()`` whose
    body is the solution: it is shown to the student, and run by the tests.
    """

    tip: ClassVar[str]

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self._put_at = datetime.now(UTC)

    @property
    def since(self) -> datetime:
        """What happened before is no attempt: when it was put, or the lab emptied after that."""
        emptied = self.lab.emptied_at
        return self._put_at if emptied is None else max(self._put_at, emptied)

    def calls(self, action: str) -> pd.DataFrame:
        """What the servers logged of it since: see ``lab.log``."""
        log = self.lab.log()
        ended = pd.to_datetime(log["time"], utc=True, format="ISO8601")
        return log[(ended > self.since) & (log["action"] == action)]

    def __repr__(self) -> str:
        return inspect.cleandoc(self.__doc__ or "")

    @abstractmethod
    async def look(self) -> Assessment:
        """What the lab looks like now."""

    @abstractmethod
    async def answer(self) -> None:
        """A solution."""

    async def check(self) -> Assessment:
        try:
            return await self.look()
        except (BrokerAway, LabNotOpen, OSError, asyncpg.PostgresError) as error:
            return Assessment("lab broken", f"{error} Then run this notebook from the top.")

    def hint(self) -> None:
        print(self.tip)  # noqa: T201  (for the student to read)

    def solution(self) -> None:
        """Print the body of ``answer()``: pasted into a cell, it solves the exercise."""
        lines = inspect.getsource(self.answer).splitlines()[1:]
        for_a_cell = (line.partition("  # noqa")[0].replace("self.lab", "lab") for line in lines)
        print(textwrap.dedent("\n".join(for_a_cell)))  # noqa: T201
