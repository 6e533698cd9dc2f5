"""The story of one request: as a table, as a sequence diagram, and step by step."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from labkit.story.events import Event

COLUMNS = ["at", "from", "to", "what", "seen"]


class Story:
    """A notebook shows it as a diagram; ``repr`` is its labels, in order, without any time."""

    def __init__(self, request_id: str, events: Sequence[Event]) -> None:
        self.request_id = request_id
        self.events = list(events)

    def table(self) -> pd.DataFrame:
        """One row for each event, in the order of cause and effect.

        Columns: ``at`` (datetime64[us, UTC]), ``from``, ``to`` and ``what`` (str), and ``seen``
        (bool): False for a gap, about which no one reported.
        """
        rows = [
            (pd.Timestamp(e.at, unit="s", tz="UTC"), e.source, e.target, e.label, not e.is_gap)
            for e in self.events
        ]
        return pd.DataFrame(rows, columns=COLUMNS)

    def mermaid(self, count: int | None = None) -> str:
        """The sequence diagram of the first ``count`` events, or of all, for mermaid."""
        shown = self.events[:count]
        names = list(dict.fromkeys(name for e in self.events for name in (e.source, e.target)))
        lines = ["sequenceDiagram", *(f"    participant {_id(n)} as {n}" for n in names)]
        return "\n".join([*lines, *(f"    {_line(event)}" for event in shown)])

    def __repr__(self) -> str:
        return "\n".join([f"The story of {self.request_id}", *map(_text, self.events)])

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {"text/plain": repr(self), "text/vnd.mermaid": self.mermaid()}

    def player(self) -> Any:
        """Back, Step and Play: the message moves one event at a time. A widget."""
        from labkit.story.player import player

        return player(self)


def _id(name: str) -> str:
    return "".join(c if c.isalnum() else "_" for c in name)


def _line(event: Event) -> str:
    source, target = _id(event.source), _id(event.target)
    if event.is_gap:
        return f"Note over {source}: ✗ {event.label}"
    if source == target:
        return f"Note over {source}: {event.label}"
    return f"{source}->>{target}: {event.label}"


def _text(event: Event) -> str:
    if event.source == event.target:
        return f"  {event.source}: {event.label}"
    return f"  {event.source} → {event.target}: {event.label}"
