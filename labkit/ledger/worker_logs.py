"""What the workers of a lab logged since a moment: of each request, what became of it."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from labkit.ledger.evidence import Line
from labkit.services.logs import Marks, events, marks

__all__ = ["Marks", "lines", "marks"]


def lines(logs: Iterable[Path], since: Marks) -> Iterator[Line]:
    """The requests that were logged behind these marks."""
    for event in events(logs, since):
        if event.get("event") == "request":
            yield from _line(event)


def _line(event: dict[str, object]) -> Iterator[Line]:
    """None for an event that is not of this server."""
    try:
        yield Line(str(event["id"]), int(str(event["attempt"])), str(event["outcome"]))
    except (KeyError, ValueError):
        return
