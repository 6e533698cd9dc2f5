"""A small line of numbers over time, as SVG: readable on light and dark, with a text beside it."""

import html
from collections.abc import Sequence

WIDTH, HEIGHT = 240, 20


def sparkline(values: Sequence[float], title: str) -> str:
    """``title`` is what a screen reader says of it."""
    text = html.escape(f"{title}: {values[-1]:g} now, at most {max(values):g}" if values else title)
    top = max(max(values, default=0), 1)
    step = WIDTH / max(len(values) - 1, 1)
    points = " ".join(
        f"{n * step:.1f},{HEIGHT - 2 - value / top * (HEIGHT - 4):.1f}"
        for n, value in enumerate(values)
    )
    return (
        f'<svg width="{WIDTH}" height="{HEIGHT}" style="display: block"'
        f' role="img" aria-label="{text}">'
        f"<title>{text}</title>"
        f'<polyline points="{points}" fill="none" stroke="#4c72b0" stroke-width="2"/></svg>'
    )
