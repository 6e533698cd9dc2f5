"""The board as HTML, in the colours of whatever theme it is shown in."""

import html
from typing import Any

from labkit.board.readings import Readings
from labkit.ui.sparkline import sparkline

IN, OUT = "publish", "deliver_get"
"""The broker's words for what clients publish into a queue, and what is delivered from it."""
HEAD = ("queue", "messages", "the last minute", "in/s", "out/s")
LEFT, RIGHT = "padding: 0 0.8em; text-align: left", "padding: 0 0.8em; text-align: right"


def page(readings: Readings, workers: int, said: str) -> str:
    """``said`` is what went wrong, or is being done."""
    line = f"workers alive: {workers}, requests logged: {readings.requests:,}"
    trouble = f"<p>{html.escape(said)}</p>" if said else ""
    return f"{_queues(readings)}<p>{line}</p>{_letters(readings)}{trouble}"


def _queues(readings: Readings) -> str:
    head = "".join(f"<th style='{LEFT if n == 0 else RIGHT}'>{h}</th>" for n, h in enumerate(HEAD))
    rows = "".join(
        f"<tr>{_cell(name, LEFT)}{_cell(depths[-1])}"
        f"<td style='padding: 0'>{sparkline(depths, f'messages in {name}')}</td>"
        f"{_cell(_rate(readings.rate(name, IN)))}{_cell(_rate(readings.rate(name, OUT)))}</tr>"
        for name, depths in readings.depths.items()
    )
    return f"<table><tr>{head}</tr>{rows}</table>"


def _letters(readings: Readings) -> str:
    if not readings.letters:
        return "<p>No dead letters were logged.</p>"
    rows = "".join(
        f"<tr>{_cell(str(each.get('time', ''))[11:19], LEFT)}{_cell(each.get('id'), LEFT)}"
        f"{_cell(each.get('reason'), LEFT)}</tr>"
        for each in reversed(readings.letters)
    )
    return f"<p>The latest dead letters:</p><table>{rows}</table>"


def _cell(content: Any, style: str = RIGHT) -> str:
    return f"<td style='{style}'>{html.escape(str(content))}</td>"


def _rate(per_second: float | None) -> str:
    return "…" if per_second is None else f"{per_second:,.0f}"
