"""A steady load, a real ``kill -9``, and an account of what became of every call."""

import asyncio
import itertools
import os
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Self

import pandas as pd
from matplotlib.axes import Axes

from labkit import deadline
from labkit.experiments import figures
from labkit.lab import Lab
from labkit.services import process
from labkit.services.environment import ROOT
from server.contract.errors import ApiError

COLOURS = {"answered": "#55a868", "failed": "#c44e52", "unknown": "#8172b3"}
OUTCOMES = tuple(COLOURS)
"""A call that failed was surely not applied; one whose outcome is unknown may have been."""


class SteadyLoad:
    """``async with SteadyLoad(call, 50) as load``: call number 0, 1, 2 …, ``per_second`` of them,
    answered or not, for those who ask in real life do not wait for each other either.

    It ends with its block: an interrupted cell leaves no load behind that spoils later counts.
    """

    def __init__(self, call: Callable[[int], Awaitable[object]], per_second: float) -> None:
        self._call = call
        self._pause = 1 / per_second
        self._numbers = itertools.count()
        self._calls: set[asyncio.Task[None]] = set()
        self._rows: list[tuple[float, str, float]] = []
        self._sent = asyncio.Event()
        self._began = time.perf_counter()
        self._sender: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._began = time.perf_counter()
        self._sender = asyncio.create_task(self._send())
        return self

    async def __aexit__(self, *_: object) -> None:
        tasks = [*self._calls, *([self._sender] if self._sender else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _send(self) -> None:
        number = 0  # of its own calls: a burst does not delay them
        while True:
            self._ask()
            number += 1
            due = self._began + number * self._pause
            await asyncio.sleep(max(0.0, due - time.perf_counter()))

    def _ask(self) -> asyncio.Task[None]:
        task = asyncio.create_task(self._one(next(self._numbers)))
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)
        return task

    async def burst(self, count: int) -> None:
        """So many calls more, all at once. Returns when the outcome of each of them is known."""
        await asyncio.gather(*[self._ask() for _ in range(count)])

    async def _one(self, number: int) -> None:
        asked = self.now()
        self._sent.set()
        try:
            await self._call(number)
            outcome = "answered"
        except ApiError as error:
            outcome = "failed" if error.is_definite else "unknown"
        self._rows.append((asked, outcome, self.now() - asked))

    def now(self) -> float:
        """Seconds since it began."""
        return time.perf_counter() - self._began

    async def next_call(self) -> Self:
        """Returns when a call is on its way."""
        self._sent.clear()
        await self._sent.wait()
        return self

    async def stop(self) -> pd.DataFrame:
        """Ask no more, wait for the outcome of all that were asked; one row for each of them.

        Columns: ``asked``, seconds since the load began (float64); ``outcome`` (str: ``answered``,
        ``failed`` or ``unknown``); ``took``, seconds until it was known (float64).
        """
        if self._sender is not None:
            self._sender.cancel()
        await asyncio.gather(*self._calls)
        table = pd.DataFrame(self._rows, columns=["asked", "outcome", "took"])
        return table.sort_values("asked", ignore_index=True)


async def kill(lab: Lab, name: str) -> None:
    """``kill -9`` to one of the lab's processes: ``worker-1``, say. It has no time to say goodbye.

    Raises ``ProcessLookupError`` if there is none of that name.
    """
    victim = _running(lab, name)
    if victim is None:
        raise ProcessLookupError(f"No process {name!r} of this lab is running.")
    os.kill(victim.pid, signal.SIGKILL)  # and not its `kill()`: a supervisor is to see a crash
    while victim.alive():  # noqa: ASYNC110  (a process sets no event of ours)
        await asyncio.sleep(0.01)


async def ended(lab: Lab, name: str, within: float = 10.0) -> None:
    """Returns when that process is dead, whatever it died of.

    Raises ``NotSettled`` (a ``TimeoutError``) if it still runs after ``within`` seconds.
    """
    still = f"{name} still runs. Does it die at a step that a request reaches?"
    async with deadline.within(within, f"{still} `await lab.stop_workers()` ends it."):
        while _running(lab, name) is not None:  # noqa: ASYNC110  (a process sets no event of ours)
            await asyncio.sleep(0.02)


def _running(lab: Lab, name: str) -> process.Process | None:
    kind = name.removeprefix(f"{lab.vhost}-")
    return process.find(f"{lab.vhost}-{kind}", ROOT / ".lab" / "run")


def account(runs: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """One row for each load: how many calls were ``asked``, and how many of them were
    ``answered``, ``failed`` or ended ``unknown`` (int64).
    """
    rows = []
    for table in runs.values():
        counts = Counter(table["outcome"])
        rows.append({"asked": len(table), **{name: counts[name] for name in OUTCOMES}})
    return pd.DataFrame(rows, index=list(runs))


def plot(
    runs: Mapping[str, pd.DataFrame],
    title: str = "The server is killed and started again",
    down: Mapping[str, tuple[float, float]] | None = None,
) -> None:
    """A point for each call: when it was asked, and how long its caller waited. ``down`` says what
    was away from when to when, in seconds since the load began: it is shaded.
    """
    figure, axes = figures.panels(len(runs), 11, sharey=True)
    for axis, (name, table) in zip(axes[0], runs.items(), strict=True):
        _shade(axis, down or {})
        draw_waits(axis, table)
        axis.set_title(name)
        axis.set_xlabel("asked at (s)")
    axes[0][0].set_ylabel("caller waited (s)")
    figures.show(figure, title, axes[0][0])


def _shade(axis: Axes, down: Mapping[str, tuple[float, float]]) -> None:
    across = axis.get_xaxis_transform()  # x in seconds, y in parts of the height
    for what, (began, ended) in down.items():
        axis.axvspan(began, ended, color="#c44e52", alpha=0.15, linewidth=0)
        label = {"facecolor": "#c44e52", "edgecolor": "none", "pad": 2}
        where = ((began + ended) / 2, 0.97, f"no {what}")
        style: dict[str, Any] = {
            "ha": "center",
            "va": "top",
            "color": "white",
            "bbox": label,
            "zorder": 5,
        }
        axis.text(*where, transform=across, **style)


def draw_waits(axis: Axes, table: pd.DataFrame) -> None:
    """The points of one load, coloured by what became of the call."""
    for outcome, colour in COLOURS.items():
        calls = table[table["outcome"] == outcome]
        size = 60 if outcome == "unknown" else 14
        axis.scatter(calls["asked"], calls["took"], s=size, color=colour, label=outcome)
