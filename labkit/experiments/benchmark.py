"""How fast the same calls are over two transports: measured in turns, drawn, put into words.

Latencies are milliseconds, durations seconds. No time of one machine means anything on another:
what can be compared is what was measured in one run, and there in turns, A B A B, so that whatever
else the machine does meanwhile slows both.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from labkit.errors import BadArgument
from labkit.experiments import figures
from labkit.ui.progress import Progress

Call = Callable[[], Awaitable[object]]
Action = Callable[[Any], Awaitable[object]]
"""One call of an action, over the client that it is given."""

COLOURS = {"REST": "#dd8452", "RabbitMQ": "#4c72b0"}
PERCENTILES = {50: "o", 95: "_", 99: "^"}
"""Those that are shown, and their markers."""
CLOSE = 1.15
"""Two figures whose ratio is below are too close for one short run to tell apart."""


@dataclass(frozen=True)
class Measurement:
    """The calls of one transport that were answered."""

    latencies: list[float]
    """Milliseconds of each call, from asking until the caller has the reply."""
    seconds: float
    """From the first question until the last reply."""

    def __add__(self, other: "Measurement") -> "Measurement":
        return Measurement(self.latencies + other.latencies, self.seconds + other.seconds)

    def row(self) -> dict[str, float]:
        points = np.percentile(self.latencies, list(PERCENTILES))
        named = {
            f"p{percent} ms": value for percent, value in zip(PERCENTILES, points, strict=True)
        }
        count = len(self.latencies)
        return {"calls": count, "calls/s": count / self.seconds, **named}


async def measure(
    call: Call,
    *,
    in_flight: int = 1,
    seconds: float | None = None,
    count: int | None = None,
    warm_up: int = 0,
) -> Measurement:
    """``in_flight`` callers, each of which asks again as soon as it is answered: for ``seconds``,
    or ``count`` calls in all. ``warm_up`` calls before are not counted.

    Raises the first error that a call raises: a call that fails is not a fast call.
    """
    if (seconds is None) == (count is None):
        raise BadArgument("Give either seconds or count.")
    if warm_up:
        await _ask(call, in_flight, iter(range(warm_up)))
    turns = _during(seconds) if seconds is not None else iter(range(count or 0))
    return await _ask(call, in_flight, turns)


async def _ask(call: Call, in_flight: int, turns: Iterator[object]) -> Measurement:
    latencies: list[float] = []

    async def caller() -> None:
        for _ in turns:  # all callers take theirs from the same ones
            asked = time.perf_counter()
            await call()
            latencies.append((time.perf_counter() - asked) * 1000)

    began = time.perf_counter()
    try:
        async with asyncio.TaskGroup() as callers:
            for _ in range(in_flight):
                callers.create_task(caller())
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None
    return Measurement(latencies, time.perf_counter() - began)


def _during(seconds: float) -> Iterator[None]:
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        yield


async def compare(
    actions: Mapping[str, Action],
    clients: Mapping[str, Any],
    *,
    in_flight: Sequence[int] = (1, 8, 64),
    seconds: float = 2.0,
    rounds: int = 4,
    warm_up: int = 100,
) -> pd.DataFrame:
    """Each action over each client, at each number in flight: one row.

    Columns: ``calls`` (int64), ``calls/s`` (float64), and the latencies' percentiles ``p50 ms``,
    ``p95 ms`` and ``p99 ms`` (float64). Raises as ``measure``.

    A row is measured for ``seconds`` in all, in ``rounds`` turns, after ``warm_up`` calls.
    """
    cases = [(name, number) for name in actions for number in in_flight]
    rows = {}
    with Progress(len(cases)) as progress:
        for name, number in cases:
            progress.step(f"{name}, {number} in flight")
            calls = {who: _bound(actions[name], client) for who, client in clients.items()}
            measured = await _in_turns(calls, number, seconds / rounds, rounds, warm_up)
            rows.update({(name, number, who): of.row() for who, of in measured.items()})
    table = pd.DataFrame.from_dict(rows, orient="index").astype({"calls": int})
    table.index = pd.MultiIndex.from_tuples(rows, names=["action", "in flight", "transport"])
    return table


def _bound(action: Action, client: Any) -> Call:
    return lambda: action(client)


async def _in_turns(
    calls: Mapping[str, Call], in_flight: int, seconds: float, rounds: int, warm_up: int
) -> dict[str, Measurement]:
    for call in calls.values():
        await measure(call, in_flight=in_flight, count=warm_up)
    total = {who: Measurement([], 0.0) for who in calls}
    for _ in range(rounds):
        for who, call in calls.items():
            total[who] += await measure(call, in_flight=in_flight, seconds=seconds)
    return total


def plot(table: pd.DataFrame) -> None:
    """Two pictures of what ``compare`` returned: throughput, and latencies."""
    _draw(table, "Throughput: calls answered per second (more is better)", "calls/s", _throughput)
    _draw(table, "Latency: milliseconds until the reply (less is better)", "ms", _latency)


def _draw(table: pd.DataFrame, title: str, unit: str, panel: Callable[..., None]) -> None:
    actions = list(dict.fromkeys(table.index.get_level_values("action")))
    figure, axes = figures.panels(len(actions), 3.6 * len(actions))
    for axis, action in zip(axes[0], actions, strict=True):
        _one_action(axis, _only(table, "action", action), panel)
        axis.set_title(action)
    axes[0][0].set_ylabel(unit)
    figures.show(figure, title, axes[0][0])


def _one_action(axis: Axes, table: pd.DataFrame, panel: Callable[..., None]) -> None:
    groups = list(dict.fromkeys(table.index.get_level_values("in flight")))
    transports = list(dict.fromkeys(table.index.get_level_values("transport")))
    for place, who in enumerate(transports):
        x = np.arange(len(groups)) + (place - (len(transports) - 1) / 2) * 0.38
        panel(axis, x, _only(table, "transport", who), who)
    axis.set_xticks(range(len(groups)), [str(group) for group in groups])
    axis.set_xlim(-0.5, len(groups) - 0.5)
    axis.margins(y=0.12)
    axis.set_xlabel("calls in flight")
    axis.grid(visible=False, axis="x")


def _only(table: pd.DataFrame, level: str, value: str) -> pd.DataFrame:
    return table[table.index.get_level_values(level) == value].droplevel(level)


def _throughput(axis: Axes, x: Any, table: pd.DataFrame, who: str) -> None:
    bars = axis.bar(x, table["calls/s"], width=0.34, color=COLOURS.get(who), label=who)
    axis.bar_label(bars, fmt="%.0f", fontsize=8, padding=2)


def _latency(axis: Axes, x: Any, table: pd.DataFrame, who: str) -> None:
    colour = COLOURS.get(who)
    axis.vlines(x, table["p50 ms"], table["p99 ms"], color=colour, alpha=0.5, linewidth=2)
    for percent, marker in PERCENTILES.items():
        name = f"{who}, p{percent}"
        heights = table[f"p{percent} ms"]
        axis.plot(x, heights, marker, color=colour, label=name, markersize=8, markeredgewidth=2)
    axis.set_yscale("log")
    axis.yaxis.set_major_formatter("{x:g}")


def conclusions(table: pd.DataFrame, first: str = "REST", second: str = "RabbitMQ") -> list[str]:
    """What the figures of ``compare`` say, in sentences: they depend on nothing else."""
    numbers = table.index.get_level_values("in flight")
    alone, crowd = int(min(numbers)), int(max(numbers))
    return [
        *_judge(table["p50 ms"], alone, "ms", first, second),
        *_judge(table["calls/s"], crowd, "calls/s", first, second),
    ]


def _judge(
    column: "pd.Series[float]", in_flight: int, unit: str, first: str, second: str
) -> Iterator[str]:
    """A sentence for each action, and one for all of them."""
    chosen = column[column.index.get_level_values("in flight") == in_flight].unstack(
        "transport", sort=False
    )
    winners = []
    for (action, _), (one, other) in zip(
        chosen.index, chosen[[first, second]].to_numpy(), strict=True
    ):
        ratio = other / one if unit == "ms" else one / other
        who = "" if max(ratio, 1 / ratio) < CLOSE else first if ratio > 1 else second
        verdict = (
            f"{who} is {max(ratio, 1 / ratio):.1f} times as fast" if who else "too close to say"
        )
        measured = f"{first} {_round(one)} {unit}, {second} {_round(other)} {unit}"
        yield f"{action}, {in_flight} in flight: {measured}: {verdict}."
        winners.append(who)
    aim = "a quick answer" if unit == "ms" else "much work done"
    yield _in_all(f"For {aim} with {in_flight} in flight", winners, first, second)


def _in_all(question: str, winners: list[str], *names: str) -> str:
    won = {name: winners.count(name) for name in names}
    best = max(won, key=lambda name: won[name])
    if won[best] == len(winners):
        return f"→ {question}, {best} was the better choice in all {len(winners)} actions."
    if not any(won.values()):
        return f"→ {question}, it made no difference: choose by something else than speed."
    counts = ", ".join(f"{name} in {count}" for name, count in won.items())
    return f"→ {question}, it depends on the action: {counts} of {len(winners)} was faster."


def _round(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}"
