"""A whole recording as a page: what was usual in one line, and what was not, one click away."""

import html
from collections.abc import Hashable, Mapping

import pandas as pd

from labkit.story.story import Story


def page(headline: str, table: pd.DataFrame, stories: Mapping[str, Story]) -> str:
    """``table`` is of ``Recording.summary``; ``stories`` open at a click."""
    more = int(table["unusual"].sum()) - len(stories)
    rest = f"<p>… and {more} more unusual ones.</p>" if more > 0 else ""
    counts = table.drop(columns="unusual").to_dict("index")
    rows = "".join(_row(counts[request_id], story) for request_id, story in stories.items())
    return f"<p>{html.escape(headline)}</p>{rows}{rest}"


def _row(counts: Mapping[Hashable, int], story: Story) -> str:
    counted = ", ".join(f"{name}: {count}" for name, count in counts.items() if count)
    title = f"<b>{html.escape(story.request_id)}</b> {html.escape(counted)}"
    lines = html.escape("\n".join(repr(story).splitlines()[1:]))
    return (
        f"<details><summary style='cursor: pointer'>{title}</summary>"
        f"<pre style='margin: 0.3em 0 0.8em 1.5em'>{lines}</pre></details>"
    )
