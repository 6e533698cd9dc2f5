"""The logs of the server's processes: one JSON object a line, in a file that is set aside when it
has grown too large.

A line may be cut, because its writer was killed or is still writing, or it may be no JSON: a last
word of Python's own. Such a line says nothing; those around it do.
"""

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from labkit.services.files import make_folder

LIMIT = 5_000_000
"""Bytes; a longer log is set aside when its process is started again."""

Marks = dict[bytes, int]
"""First line of a log, which has the time in it → how long the log was. A file may be renamed."""


def set_aside(log: Path) -> Path:
    """Where the log's contents go when it has grown too large; what was there before is dropped."""
    return log.with_suffix(".old.log")


def opened(log: Path) -> int:
    """A descriptor to append to the log, which begins at a new line: the one before may be cut."""
    make_folder(log.parent)
    if log.exists() and log.stat().st_size > LIMIT:
        log.replace(set_aside(log))
    descriptor = os.open(log, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    size = os.fstat(descriptor).st_size
    if size and os.pread(descriptor, 1, size - 1) != b"\n":
        os.write(descriptor, b"\n")
    return descriptor


def marks(logs: Iterable[Path]) -> Marks:
    """Where all the logs end now."""
    return {_first_line(file): file.stat().st_size for file in _files(logs)}


def events(logs: Iterable[Path], since: Marks | None = None) -> Iterator[dict[str, Any]]:
    """What was logged, from the marks on if there are any: log by log, in the order of writing."""
    for file in _files(logs):
        with file.open("rb") as lines:
            lines.seek((since or {}).get(_first_line(file), 0))
            for line in lines:
                if event := parsed(line):
                    yield event


def parsed(line: bytes) -> dict[str, Any] | None:
    """The event of this line; None if it is no JSON object."""
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return event if isinstance(event, dict) else None


def _files(logs: Iterable[Path]) -> Iterator[Path]:
    for log in logs:
        yield from (file for file in (set_aside(log), log) if file.exists())


def _first_line(file: Path) -> bytes:
    with file.open("rb") as lines:
        return lines.readline()
