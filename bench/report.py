"""What a run of the benchmark leaves: bench/results.json, a table and a picture."""

import json
import os
import platform
from datetime import UTC, datetime

from matplotlib.figure import Figure

from bench.contest import Figures, medians
from labkit.services.environment import ROOT

RESULTS = ROOT / "bench" / "results.json"
PAGE = ROOT / "docs" / "performance.md"
PICTURE = ROOT / "docs" / "performance.png"
BEGIN, END = "<!-- measured -->\n", "<!-- end -->\n"
"""Between these, the page has the newest table."""
DRAWN = ("echo_64", "create_64")

Results = dict[str, dict[str, list[Figures]]]
"""Row, contender → the figures of each round."""


def write(results: Results, figures: dict[str, float]) -> None:
    """Replaces what the run before has left."""
    RESULTS.write_text(json.dumps(_document(results, figures), indent=1) + "\n", encoding="utf-8")
    page = PAGE.read_text(encoding="utf-8")
    before, _, rest = page.partition(BEGIN)
    after = rest.partition(END)[2]
    PAGE.write_text(before + BEGIN + tables(results, figures) + END + after, encoding="utf-8")
    _draw(results)


def tables(results: Results, figures: dict[str, float]) -> str:
    """In Markdown: the contest, and the other figures by name, which ends in the unit."""
    rows = [f"| {name} | {_readable(value)} |" for name, value in figures.items()]
    return "\n".join([table(results), "| one process, or one lab | |", "|---|---|", *rows, ""])


def _readable(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2g}"


def _document(results: Results, figures: dict[str, float]) -> dict[str, object]:
    middle = {
        row: {name: medians(rounds) for name, rounds in contenders.items()}
        for row, contenders in results.items()
    }
    return {
        "measured": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {platform.release()}",
        "python": platform.python_version(),
        "peers": (ROOT / "bench/peers/requirements.txt").read_text(encoding="utf-8").splitlines(),
        "echo_64": _of(middle, "echo_64", "calls_s"),
        "echo_1_ms": _of(middle, "echo_1", "p50_ms"),
        "create_64": _of(middle, "create_64", "calls_s"),
        "create_1_ms": _of(middle, "create_1", "p50_ms"),
        "others": {name: round(value, 3) for name, value in figures.items()},
        "rounds": results,
    }


def _of(middle: dict[str, dict[str, Figures]], row: str, figure: str) -> dict[str, float]:
    return {name: round(figures[figure], 2) for name, figures in middle.get(row, {}).items()}


def table(results: Results) -> str:
    """In Markdown: medians, and from the slowest to the fastest round."""
    lines = [
        "| | | calls/s | slowest to fastest round | p50, ms | p99, ms | p99 ÷ p50 |",
        "|---|---|---|---|---|---|---|",
    ]
    for row, contenders in results.items():
        for name, rounds in contenders.items():
            figures = medians(rounds)
            speeds = sorted(each["calls_s"] for each in rounds)
            lines.append(
                f"| {row} | {name} | {figures['calls_s']:,.0f} | "
                f"{speeds[0]:,.0f} to {speeds[-1]:,.0f} | {figures['p50_ms']:.1f} | "
                f"{figures['p99_ms']:.1f} | {figures['p99_ms'] / figures['p50_ms']:.1f} |"
            )
    return "\n".join(lines) + "\n"


def _draw(results: Results) -> None:
    figure = Figure(figsize=(9, 4), layout="constrained")
    for place, row in zip(figure.subplots(1, len(DRAWN)), DRAWN, strict=True):
        speeds = {name: medians(rounds)["calls_s"] for name, rounds in results[row].items()}
        names = sorted(speeds, key=lambda name: speeds[name])
        bars = place.barh(names, [speeds[name] for name in names])
        for bar, name in zip(bars, names, strict=True):
            bar.set_color("tab:orange" if name == "ours" else "tab:gray")
        place.bar_label(bars, fmt="{:,.0f}", padding=3)
        place.margins(x=0.2)
        place.set_title(f"{row.replace('_', ', ')} in flight")
        place.set_xlabel("calls a second")
    figure.savefig(PICTURE, dpi=100)
