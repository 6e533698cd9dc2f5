"""How far something long has come: one line of a notebook, refreshed at each step."""

import os
import sys
import time
from types import TracebackType
from typing import Any, Self

from IPython.core.getipython import get_ipython
from IPython.display import display


class Progress:
    """``with Progress(12) as progress:`` and then ``progress.step("what comes next")`` 12 times."""

    def __init__(self, steps: int) -> None:
        self._steps = steps
        self._done = 0
        self._began = time.monotonic()
        self._line = display(_Text("…"), display_id=True)  # type: ignore[no-untyped-call]

    def __enter__(self) -> Self:
        return self

    def step(self, text: str) -> None:
        bar = "█" * self._done + "░" * (self._steps - self._done)
        self._show(f"{bar}  {text} …")
        self._done += 1

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        word = "stopped after" if error else "done in"
        self._show(f"{word} {time.monotonic() - self._began:.0f} s")

    def _show(self, text: str) -> None:
        if self._line is not None:  # outside of a notebook there is no line to refresh
            self._line.update(_Text(text))


class _Text(str):
    """Shown as it is, without quotes."""

    def __repr__(self) -> str:
        return str(self)


class StatusLine:
    """One line of text for as long as something lasts: in a notebook refreshed each time, in a
    terminal over the one before, and in a file of output not at all. With LAB_QUICK neither: there
    outputs are compared, and how slow a machine is must not be one of them.
    """

    def __init__(self) -> None:
        self._handle: Any = None

    def show(self, text: str) -> None:
        if "LAB_QUICK" in os.environ:
            return
        if get_ipython() is None:
            self._write(f"\r\x1b[K{text}")
        elif self._handle is None:
            self._handle = display(_Text(text), display_id=True)  # type: ignore[no-untyped-call]
        else:
            self._handle.update(_Text(text))

    def clear(self) -> None:
        if self._handle is not None:
            self._handle.update(_Text(""))
        elif get_ipython() is None:
            self._write("\r\x1b[K")

    def _write(self, text: str) -> None:
        if sys.stderr.isatty():
            sys.stderr.write(text)
            sys.stderr.flush()


SHOWN_AFTER, INTERVAL = 1.0, 0.2
"""Seconds until the first word about something long, and between two of them."""


class Tally:
    """``with Tally("looked at", 100_000) as tally:`` and then ``tally.add(1000)`` as often as
    needed. What is done within a second tells nothing.
    """

    def __init__(self, verb: str, total: int) -> None:
        self._verb = verb
        self._total = total
        self._done = 0
        self._due = time.monotonic() + SHOWN_AFTER
        self._line = StatusLine()

    def __enter__(self) -> Self:
        return self

    def add(self, count: int = 1) -> None:
        self._done += count
        if time.monotonic() >= self._due:
            self._due = time.monotonic() + INTERVAL
            self._line.show(f"{self._verb} {self._done:,} of {self._total:,}")

    def __exit__(self, *_: object) -> None:
        self._line.clear()
