"""A spike of requests: how deep the queue gets, how long callers wait, how busy workers are."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Self

import pandas as pd
from matplotlib.axes import Axes

from labkit.experiments import crash, figures
from labkit.lab import Lab
from labkit.services import process
from labkit.services.environment import ROOT
from labkit.ui.progress import StatusLine
from server.contract.topology import REQUESTS

COLUMNS = ["at", "ready", "unacked", "cpu"]
COLOURS = {"ready": "#4c72b0", "unacked": "#dd8452", "cpu": "#8c8c8c"}


class Gauge:
    """An operator's instruments, read several times a second while the line below the cell says
    what they show: ``api.requests``, and the processor time that the lab's workers use.
    ``async with Gauge(lab, load.now) as gauge``; they are read until its block ends.
    """

    def __init__(self, lab: Lab, now: Callable[[], float]) -> None:
        """``now`` is the clock, in seconds: ``SteadyLoad.now``, to compare with its calls."""
        self._lab = lab
        self._now = now
        self._rows: list[tuple[float, int, int, float]] = []
        self._line = StatusLine()
        self._cpu = self._used()
        self._read_at = now()
        self._reader: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._reader = asyncio.create_task(self._read_on())
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._end()

    async def _read_on(self) -> None:
        while True:
            await self._read()

    async def _read(self) -> None:
        queues = await self._lab.queues()
        at, ready, unacked = self._now(), *map(int, queues.loc[REQUESTS, ["ready", "unacked"]])
        self._rows.append((at, ready, unacked, self._cores(at)))
        self._line.show(f"{ready} wait in {REQUESTS}, {unacked} are being worked on")

    def _cores(self, at: float) -> float:
        """How many processor cores the workers kept busy since this was asked before."""
        before, self._cpu = self._cpu, self._used()
        since, self._read_at = at - self._read_at, at
        return sum(used - before.get(pid, used) for pid, used in self._cpu.items()) / since

    def _used(self) -> dict[int, float]:
        """The worker's pid → seconds of processor time."""
        found = [process.find(name, ROOT / ".lab" / "run") for name in self._lab.worker_logs]
        used = {each.pid: each.cpu_seconds() for each in found if each is not None}
        return {pid: seconds for pid, seconds in used.items() if seconds is not None}

    async def stop(self) -> pd.DataFrame:
        """One row for each reading: ``at`` is seconds, ``cpu`` cores. The last one is of now."""
        await self._end()
        await self._read()
        self._line.clear()
        return pd.DataFrame(self._rows, columns=COLUMNS)

    async def _end(self) -> None:
        if self._reader is not None:
            self._reader.cancel()
            with suppress(asyncio.CancelledError):
                await self._reader


def plot(spikes: Mapping[str, tuple[pd.DataFrame, pd.DataFrame]]) -> None:
    """``name: (calls of SteadyLoad, readings of Gauge)``: queue, waits and processor, one below the
    other.
    """
    figure, axes = figures.panels(
        len(spikes), 11, rows=3, height=6.6, sharex=True, sharey="row", height_ratios=(3, 3, 2)
    )
    for column, (name, (calls, readings)) in enumerate(spikes.items()):
        queue, waits, cpu = (row[column] for row in axes)
        _draw_queue(queue, readings)
        crash.draw_waits(waits, calls)
        cpu.plot(readings["at"], readings["cpu"], color=COLOURS["cpu"], drawstyle="steps-pre")
        cpu.axhline(1, color=figures.INK, linestyle=":")
        queue.set_title(name)
        cpu.set_xlabel("seconds")
    for row, label in zip(
        axes, ("requests in the queue", "caller waited (s)", "busy cores\n(workers)"), strict=True
    ):
        row[0].set_ylabel(label)
    axes[2][0].set_ylim(bottom=0)
    figures.show(figure, "A spike is absorbed by the queue", axes[0][0])


def _draw_queue(axis: Axes, readings: pd.DataFrame) -> None:
    depths = {name: readings[name] for name in ("unacked", "ready")}
    colours = [COLOURS[name] for name in depths]
    axis.stackplot(readings["at"], *depths.values(), labels=list(depths), colors=colours)
