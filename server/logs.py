"""Structured logs: one JSON object a line, on standard output."""

import logging
import sys

import structlog

_SHARED: list[structlog.types.Processor] = [
    structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
    structlog.processors.add_log_level,
    structlog.processors.format_exc_info,
]


def configure(level: str = "info") -> None:
    """Called once, by a process that serves."""
    structlog.configure(
        processors=[*_SHARED, structlog.processors.JSONRenderer(ensure_ascii=False)],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(sys.stdout),
        cache_logger_on_first_use=True,
    )
    _bring_in_the_libraries()


def _bring_in_the_libraries() -> None:
    """Libraries use the standard library's logging: the same form, and only what needs a look."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(ensure_ascii=False),
            ],
            foreign_pre_chain=[*_SHARED, structlog.stdlib.add_logger_name],
        )
    )
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
