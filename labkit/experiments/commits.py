"""What a commit costs when writes share it: throughput against latency, measured and drawn."""

from collections.abc import Sequence

import pandas as pd

from labkit.experiments import benchmark, figures
from labkit.lab import Lab
from labkit.ui.progress import Progress

COLOURS = ("#8c8c8c", "#dd8452", "#4c72b0")


async def measure(
    lab: Lab,
    call: benchmark.Call,
    *,
    batches: Sequence[int] = (1, 8, 64),
    in_flight: Sequence[int] = (1, 64),
    seconds: float = 2.0,
) -> pd.DataFrame:
    """The same writes, with at most so many of them in one transaction, and so many in flight: one
    row. Each batch gets a worker of its own, which replaces those that there are.

    Columns: ``calls`` (int64), ``calls/s``, ``p50 ms`` and ``p99 ms`` (float64). ``seconds`` is the
    time for each row. Raises ``WorkerFailed``, and as ``benchmark.measure``.
    """
    rows = {}
    with Progress(len(batches) * len(in_flight)) as progress:
        for batch in batches:
            await lab.stop_workers()
            await lab.start_workers(1, prefetch=max(in_flight), commit_batch=batch)
            for number in in_flight:
                progress.step(f"up to {batch} in a transaction, {number} in flight")
                measured = await benchmark.measure(
                    call, in_flight=number, seconds=seconds, warm_up=2 * number
                )
                rows[batch, number] = measured.row()
    table = pd.DataFrame.from_dict(rows, orient="index")
    table.index = pd.MultiIndex.from_tuples(rows, names=["commit_batch", "in flight"])
    return table[["calls", "calls/s", "p50 ms", "p99 ms"]].astype({"calls": int})


def plot(table: pd.DataFrame) -> None:
    """Each row of ``measure`` as a point: what was done in a second, and what a caller waited."""
    figure, ((axis,),) = figures.panels(1, 7, height=3.8)
    for colour, (batch, rows) in zip(COLOURS, table.groupby("commit_batch"), strict=False):
        rows = rows.droplevel("commit_batch")
        label = f"up to {batch} in a transaction"
        axis.plot(rows["calls/s"], rows["p50 ms"], "o-", color=colour, label=label)
    for number, rows in table.groupby("in flight"):
        slowest = rows.sort_values("p50 ms").iloc[-1]
        at = (slowest["calls/s"], slowest["p50 ms"])
        axis.annotate(f"{number} in flight", at, (0, 8), textcoords="offset points", ha="center")
    axis.set_xscale("log", base=2)
    axis.set_yscale("log", base=2)
    axis.xaxis.set_major_formatter("{x:.0f}")
    axis.yaxis.set_major_formatter("{x:g}")
    axis.margins(0.15)
    axis.set_xlabel("calls/s (more is better)")
    axis.set_ylabel("median ms (less is better)")
    figures.show(figure, "Sharing a commit: throughput and latency", axis)
