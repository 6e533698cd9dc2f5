"""What the user sees while waiting: a line per finished step, and a sign of life in between."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from typing import Self

from rich.console import Console
from rich.status import Status

BEAT = 5.0
"""Seconds of silence after which a log, which has no live line, gets one with what is going on."""
FIRST_BEAT = 2.0


class Steps:
    """`async with Steps() as steps`. Steps may run side by side; lines never mix."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True, highlight=False, markup=False)
        self._status = Status("", console=self._console)
        self._running: dict[str, float] = {}
        self._next_beat = time.monotonic() + FIRST_BEAT
        self._ticker: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._ticker = asyncio.create_task(self._tick())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._ticker is not None:
            self._ticker.cancel()
        self._show("")

    async def step(
        self, title: str, work: Callable[[], Awaitable[str]], *after: asyncio.Task[None]
    ) -> None:
        """Do it as soon as what it needs is done; `work` returns what it did."""
        for needed in after:
            await needed
        begun = self._running[title] = time.monotonic()
        try:
            text = await work()
        except BaseException:
            self.say(f"  ✗ {title:<12} failed")
            raise
        finally:
            del self._running[title]
        self.say(f"  ✓ {title:<12} {text:<48} {time.monotonic() - begun:5.1f} s")

    def say(self, line: str) -> None:
        self._next_beat = time.monotonic() + FIRST_BEAT
        with contextlib.suppress(OSError, ValueError):  # the terminal may be gone: work goes on
            self._console.print(line, soft_wrap=True)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(0.1)
            now = time.monotonic()
            doing = ", ".join(f"{title} {now - t:.0f} s" for title, t in self._running.items())
            if self._console.is_terminal:
                self._show(doing)
            elif doing and now > self._next_beat:
                self.say(f"  … {doing}")
                self._next_beat = now + BEAT

    def _show(self, doing: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._status.update(doing)
            (self._status.start if doing else self._status.stop)()
