"""The story of one request: as a table, as a sequence diagram, and step by step."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from labkit.story import diagram
from labkit.story.event import Event, Kind
from labkit.story.player import Player

COLUMNS = ["at", "from", "to", "what", "seen"]


class Story:
    """A notebook shows it as a diagram; ``repr`` is its labels, in order, without any time."""

    def __init__(self, request_id: str, events: Sequence[Event]) -> None:
        self.request_id = request_id
        self.events = list(events)

    def table(self) -> pd.DataFrame:
        """One row for each event, in the order of cause and effect.

        Columns: ``at`` (datetime64[us, UTC]), ``from``, ``to`` and ``what`` (str), and ``seen``
        (bool): False for a gap, about which no one reported. A fault has no ``from`` and ``to``.
        """
        rows = [
            (
                pd.Timestamp(e.at, unit="s", tz="UTC"),
                e.source,
                e.target,
                e.label,
                e.kind is not Kind.GAP,
            )
            for e in self.events
        ]
        return pd.DataFrame(rows, columns=COLUMNS)

    def mermaid(self, count: int | None = None) -> str:
        """The sequence diagram of the first ``count`` events, or of all, for mermaid."""
        return diagram.mermaid(self.events, f"The story of {self.request_id}", count)

    def __repr__(self) -> str:
        return "\n".join([f"The story of {self.request_id}", *map(diagram.text, self.events)])

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {"text/plain": repr(self), "text/vnd.mermaid": self.mermaid()}

    def player(self) -> Player:
        """Back, Step and Play, in JupyterLab: the message moves one event at a time."""
        return Player(self)


def together(stories: Sequence[Story]) -> str:
    """One diagram of several requests, each event with the request's id, for mermaid.

    Each story keeps its order of cause and effect; how they interleave is by time.
    """
    timed: list[tuple[float, Event]] = []
    for story in stories:
        latest = 0.0
        for event in story.events:
            latest = max(latest, event.at)
            label = f"{story.request_id}: {event.label}"
            is_fault = event.kind is Kind.FAULT
            timed.append((latest, event if is_fault else replace(event, label=label)))
    merged = [event for _, event in sorted(timed, key=lambda each: each[0])]
    title = "The stories of " + ", ".join(story.request_id for story in stories)
    return diagram.mermaid(list(dict.fromkeys(merged)), title)  # a fault is in each, and shown once
