"""What the workers of a lab logged since a moment: in files that are set aside when too large."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from labkit.ledger.evidence import Line

Marks = dict[bytes, int]
"""First line of a log, which has the time in it → how long the log was. A file may be renamed."""


def marks(logs: Iterable[Path]) -> Marks:
    """Where all the logs end now."""
    return {_first_line(file): file.stat().st_size for file in _files(logs)}


def lines(logs: Iterable[Path], since: Marks) -> Iterator[Line]:
    """The requests that were logged behind these marks."""
    for file in _files(logs):
        with file.open("rb") as text:
            text.seek(since.get(_first_line(file), 0))
            for line in text:
                if b'"event": "request"' in line:
                    yield from _parsed(line)


def _parsed(line: bytes) -> Iterator[Line]:
    """None for a line that is cut: its writer was killed, or is still writing."""
    try:
        entry = json.loads(line)
        yield Line(str(entry["id"]), int(entry["attempt"]), str(entry["outcome"]))
    except (ValueError, KeyError, TypeError):
        return


def _files(logs: Iterable[Path]) -> Iterator[Path]:
    for log in logs:
        yield from (file for file in (log.with_suffix(".old.log"), log) if file.exists())


def _first_line(file: Path) -> bytes:
    with file.open("rb") as text:
        return text.readline()
