"""What more workers, or more deliveries for each, do to throughput: measured and drawn."""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import pandas as pd
from matplotlib.axes import Axes

from labkit.experiments import benchmark, figures
from labkit.lab import Lab
from labkit.ui.progress import Progress

COLOURS = ("#4c72b0", "#dd8452", "#c44e52", "#8c8c8c")
CONSUMERS = ("#55a868", "#c44e52")


class Crew(NamedTuple):
    """So many workers, each of which holds up to ``prefetch`` deliveries at a time."""

    workers: int
    prefetch: int


async def measure(
    lab: Lab, works: Mapping[str, benchmark.Call], crews: Sequence[Crew], *, seconds: float = 2.0
) -> pd.DataFrame:
    """Each kind of work done by each crew, which replaces the workers that there are: one row.

    Columns: ``calls`` (int64), ``calls/s`` (float64), and ``times`` (float64), how often the crew
    did what the first one did. For each worker one caller more asks than it can hold deliveries: no
    worker ever waits for one. ``seconds`` is the time for each row.

    Raises ``WorkerFailed``, and as ``benchmark.measure``.
    """
    rows = {}
    with Progress(len(works) * len(crews)) as progress:
        for crew in crews:
            await lab.stop_workers()
            await lab.start_workers(crew.workers, prefetch=crew.prefetch)
            in_flight = crew.workers * (crew.prefetch + 1)
            for name, call in works.items():
                progress.step(f"{name}: {crew.workers} × prefetch {crew.prefetch}")
                measured = await benchmark.measure(
                    call, in_flight=in_flight, seconds=seconds, warm_up=2 * crew.workers
                )
                rows[name, *crew] = measured.row()
    return _table({(name, *crew): rows[name, *crew] for name in works for crew in crews})


def _table(rows: dict[tuple[str, int, int], dict[str, float]]) -> pd.DataFrame:
    table = pd.DataFrame.from_dict(rows, orient="index")[["calls", "calls/s"]]
    table = table.astype({"calls": int})
    table.index = pd.MultiIndex.from_tuples(rows, names=["work", *Crew._fields])
    table["times"] = table["calls/s"] / table.groupby("work")["calls/s"].transform("first")
    return table


def plot(table: pd.DataFrame, by: Literal["workers", "prefetch"] = "workers") -> None:
    """How many times as much was done by more ``workers`` with a prefetch of 1, or by one worker
    with more ``prefetch``.
    """
    figure, ((axis,),) = figures.panels(1, 7, height=3.8)
    other = "prefetch" if by == "workers" else "workers"
    table = table[table.index.get_level_values(other) == 1].droplevel(other)
    sizes = sorted(set(table.index.get_level_values(by)))
    axis.plot(sizes, sizes, color=figures.INK, linestyle=":", label=f"in step with {by}")
    for colour, (work, rows) in zip(COLOURS, table.groupby("work", sort=False), strict=False):
        axis.plot(rows.index.get_level_values(by), rows["times"], "o-", color=colour, label=work)
    _logarithmic(axis, sizes)
    axis.set_xlabel(by)
    axis.set_ylabel("times as much done")
    figures.show(figure, f"Throughput by {by}", axis)


def _logarithmic(axis: Axes, sizes: list[int]) -> None:
    """Twice as much is the same way up everywhere."""
    axis.set_xscale("log", base=2)
    axis.set_yscale("log", base=2)
    axis.set_xticks(sizes, [str(size) for size in sizes])
    axis.yaxis.set_major_formatter("{x:g}")
    axis.minorticks_off()


def plot_shares(shares: Mapping[str, pd.DataFrame]) -> None:
    """Who worked on which message when: ``consumer``, ``began`` and ``took`` (s) of each."""
    figure, axes = figures.panels(len(shares), 11, height=2.2, sharex=True)
    for axis, (name, table) in zip(axes[0], shares.items(), strict=True):
        for colour, (consumer, rows) in zip(CONSUMERS, table.groupby("consumer"), strict=False):
            began = rows["began"] - table["began"].min()
            axis.barh(
                f"{consumer}: {len(rows)}",
                rows["took"],
                left=began,
                color=colour,
                edgecolor="none",
                height=0.6,
            )
        axis.set_title(name)
        axis.set_xlabel("seconds")
    figures.show(figure, "Each bar is a message, and the time that it took")
