"""Structured logs: one JSON object a line, on standard output, in UTF-8 whatever the locale.

A log never fails what it tells of. A worker logs a request between its reply and its
acknowledgement: an exception there would have the broker deliver it again, and again.
"""

import json
import logging
import os
from contextlib import suppress

import structlog
from pydantic_core import to_json

STDOUT = 1

_SHARED: list[structlog.types.Processor] = [
    structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
    structlog.processors.add_log_level,
    structlog.processors.format_exc_info,
]


def _as_json(line: object, **_: object) -> str:
    """In a tenth of the time of ``json.dumps``, which also takes what is no Unicode."""
    try:
        return to_json(line, fallback=repr).decode()
    except ValueError:
        return json.dumps(line, default=repr, ensure_ascii=False)


class Unfailing:
    """Writes to a file descriptor, and drops what it does not take: the disk is full, the reader is
    gone. There is no buffer in which that could pile up.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def write(self, text: str) -> int:
        with suppress(OSError):
            os.write(self._descriptor, text.encode("utf-8", "backslashreplace"))
        return len(text)

    def flush(self) -> None:
        """There is nothing to flush."""


def configure(*watchers: structlog.types.Processor, level: str = "info") -> None:
    """Called once, by a process that serves. ``watchers`` see each event before it is written."""
    output = Unfailing(STDOUT)
    structlog.configure(
        processors=[*_SHARED, *watchers, structlog.processors.JSONRenderer(_as_json)],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(output),  # type: ignore[arg-type]
        cache_logger_on_first_use=True,
    )
    _bring_in_the_libraries(output)


def _bring_in_the_libraries(output: Unfailing) -> None:
    """Libraries use the standard library's logging: the same form, and only what needs a look."""
    handler = logging.StreamHandler(output)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(_as_json),
            ],
            foreign_pre_chain=[*_SHARED, structlog.stdlib.add_logger_name],
        )
    )
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
