"""How far something long has come: one line of a notebook, written anew at each step."""

import time
from types import TracebackType
from typing import Self

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
        word = "stopped after" if error else "measured in"
        self._show(f"{word} {time.monotonic() - self._began:.0f} s")

    def _show(self, text: str) -> None:
        if self._line is not None:  # outside of a notebook there is no line to write anew
            self._line.update(_Text(text))


class _Text(str):
    """Shown as it is, without quotes."""

    def __repr__(self) -> str:
        return str(self)
