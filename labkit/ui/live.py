"""A table that is refreshed in its place: in a notebook, and in a terminal."""

import asyncio
import shutil
import sys
import time
from types import TracebackType
from typing import Any, Self

import pandas as pd
from IPython.core.getipython import get_ipython
from IPython.display import display

TOP_LEFT, CLEAR, REST_OF_LINE, REST_OF_SCREEN = "\x1b[H", "\x1b[2J", "\x1b[K", "\x1b[J"


class Live:
    """In a notebook the cell's output, which stays as it is at last; in a terminal the screen; and
    in a pipe or a file one table after the other, each with its time.
    """

    def __init__(self, title: str) -> None:
        self._title = title
        self._handle: Any = None
        self._shown = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        """To interrupt a cell that is looked at is no failure; Jupyter cancels what it waits for.
        A terminal's Ctrl-C ends the program.
        """
        return kind is asyncio.CancelledError and get_ipython() is not None

    def show(self, table: pd.DataFrame) -> None:
        if get_ipython() is None:
            self._write(f"{self._title}  {time.strftime('%H:%M:%S')}\n{_text(table)}\n")
        elif self._handle is None:
            self._handle = display(table, display_id=True)  # type: ignore[no-untyped-call]
        else:
            self._handle.update(table)
        self._shown += 1

    def _write(self, text: str) -> None:
        if sys.stdout.isatty():
            text = (TOP_LEFT if self._shown else CLEAR + TOP_LEFT) + _fitting(text) + REST_OF_SCREEN
        elif self._shown:
            text = f"\n{text}"
        sys.stdout.write(text)
        sys.stdout.flush()


def _text(table: pd.DataFrame) -> str:
    return table.to_string(na_rep="") if len(table) else "no queues"


def _fitting(text: str) -> str:
    """What has no place on the screen would move all that is above it."""
    width, height = shutil.get_terminal_size()
    lines = text.splitlines()[: height - 1]
    return "".join(f"{line[:width]}{REST_OF_LINE}\n" for line in lines)
