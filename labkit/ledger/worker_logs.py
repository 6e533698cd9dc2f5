"""What the workers of a lab logged since a moment: of each request, what became of it."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path

from labkit.ledger.evidence import LogLine
from labkit.services.logs import Marks, events, marks
from server.contract.log_events import REQUEST

__all__ = ["Marks", "lines", "marks"]


def lines(logs: Iterable[Path], since: Marks) -> Iterator[LogLine]:
    """The requests that were logged behind these marks."""
    for log in logs:
        for event in events([log], since):
            if event.get("event") == REQUEST:
                yield from _line(event, log.stem)


def _line(event: dict[str, object], worker: str) -> Iterator[LogLine]:
    """None for an event that is not of this server."""
    try:
        said = str(event["id"]), int(str(event["attempt"])), str(event["outcome"])
        took = float(str(event.get("ms", 0.0))) / 1000
        yield LogLine(*said, worker=worker, at=_seconds(event.get("time")), took=took)
    except (KeyError, ValueError):
        return


def _seconds(time: object) -> float | None:
    """Since 1970."""
    return datetime.fromisoformat(time).timestamp() if isinstance(time, str) else None
