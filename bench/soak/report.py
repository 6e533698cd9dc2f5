"""A soak as Markdown and as a picture."""

from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.soak.result import Result
from labkit.ledger import INVARIANTS

COLOURS = {"ok": "#55a868", "refused": "#4c72b0", "unknown": "#c44e52"}
HARD = ("broker", "database")
"""Targets whose faults nothing works without."""
MOST = 20
"""Violations that are written out."""


def write(result: Result, folder: Path) -> str:
    """``report.md`` and ``throughput.png`` in this folder; returns the Markdown."""
    folder.mkdir(parents=True, exist_ok=True)
    draw(result).savefig(folder / "throughput.png", dpi=110)
    text = markdown(result)
    (folder / "report.md").write_text(text, encoding="utf-8")
    return text


def markdown(result: Result) -> str:
    accepted, died = result.places["accepted"], result.died
    sum_of = ", ".join(
        f"{n:,} {place}" for place, n in result.places.items() if n and place != "accepted"
    )
    parts = [
        f"Seed {result.seed}: {_minutes(result.ended)}, {result.operations.total():,} operations, "
        f"{len(result.faults)} faults, {result.rounds} rounds, "
        f"**{len(result.violations)} violations**.",
        *(
            [f"**It ended before its time**, and the last round is not judged: {died}"]
            if died
            else []
        ),
        "![Answers a second, and the faults](throughput.png)",
        "Operations by outcome:",
        table(result.by_outcome().reset_index()),
        f"Of {accepted:,} requests that the broker accepted: {sum_of}.",
        "Faults by kind, and the seconds from each heal to the next answer:",
        table(result.by_fault()) if result.faults else "none",
        "Invariants: how many operations each could judge (of I7, heals; of I8, changes; of I9 and "
        "I10, what was read of a row or a list), and how many violations there are:",
        table(_invariants(result)),
        *_details(result),
    ]
    return "\n\n".join(parts) + "\n"


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.0f} minutes" if seconds >= 120 else f"{seconds:.0f} seconds"


def _invariants(result: Result) -> pd.DataFrame:
    found, judged = result.by_invariant(), result.judgements
    rows = [
        (name, text, f"{judged[name]:,}", found.get(name, 0))
        for name, (text, _) in INVARIANTS.items()
    ]
    return pd.DataFrame(rows, columns=["", "invariant", "judged", "violations"])


def _details(result: Result) -> list[str]:
    seen = [f"- round {number}, {v.invariant}: {v.seen}" for number, v in result.violations[:MOST]]
    trouble = [f"- the soak itself: {text}" for text in result.troubles[:MOST]]
    return ["\n".join(seen + trouble)] if seen or trouble else []


def table(frame: pd.DataFrame) -> str:
    """As Markdown; what is missing is empty."""
    lines = [list(map(str, frame.columns)), ["---"] * len(frame.columns)]
    lines += [["" if pd.isna(cell) else str(cell) for cell in row] for row in frame.to_numpy()]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def draw(result: Result) -> Figure:
    """Answers of each second over time; faults are marked, and the pauses to judge are grey."""
    mpl.use("agg")
    figure = Figure(figsize=(12, 4.2), layout="constrained")
    axes = figure.subplots()
    seconds = range(int(result.ended) + 1)
    for outcome, colour in COLOURS.items():
        answers = [result.throughput[outcome][second] for second in seconds]
        axes.plot([s / 60 for s in seconds], answers, color=colour, linewidth=0.8, label=outcome)
    _mark_faults(axes, result)
    for start, end in result.judged:
        axes.axvspan(start / 60, end / 60, color="#cccccc", alpha=0.5, linewidth=0)
    axes.set_xlabel("minutes (grey: nothing is asked, the round is judged)")
    axes.set_ylabel("answers a second")
    axes.set_xlim(0, max(result.ended, 1.0) / 60)
    axes.set_ylim(bottom=0)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=5, frameon=False)
    axes.set_title(
        f"Seed {result.seed}: {len(result.faults)} faults, {len(result.violations)} violations",
        loc="left",
        pad=14,
    )
    return figure


def _mark_faults(axes: Axes, result: Result) -> None:
    hard = [fault for fault in result.faults if fault.target in HARD]
    for fault in result.faults:
        colour, alpha = ("#c44e52", 0.35) if fault in hard else ("#dd8452", 0.2)
        axes.axvspan(fault.at / 60, fault.healed / 60, color=colour, alpha=alpha, linewidth=0)
    soft = [fault.at / 60 for fault in result.faults if fault not in hard]
    at = [fault.at / 60 for fault in hard]
    above = axes.get_xaxis_transform()
    style: dict[str, Any] = {"transform": above, "clip_on": False, "linestyle": "none"}
    axes.plot(soft, [1.0] * len(soft), marker="|", color="#dd8452", label="a fault", **style)
    axes.plot(at, [1.0] * len(at), marker="v", color="#c44e52", label="a hard one", **style)
