"""What a letter's headers say, checked: anybody who may publish a request may write any of them.

They are believed only if RabbitMQ vouches that the server or an operator has sent the letter, and
only values of the type and size that those write. What is left is an allow-list: of all other
headers, ``CC`` among them, nothing goes any further.
"""

from datetime import UTC, datetime
from typing import Any

from server.contract import trace_context
from server.contract.headers import (
    ASKED_AS,
    CALLER,
    EDITED_FROM,
    ERROR,
    FAILURES,
    ORIGIN,
    PARKED_AT,
    REASON,
    REPLAYS,
    TRACEPARENT,
)

TEXTS = (CALLER, EDITED_FROM, ASKED_AS, REASON, ERROR, ORIGIN)
LONGEST_TEXT = 4096
"""Characters, as of a caller: the longest that the server writes."""
MOST_REPLAYS = 1_000_000
MOST_FAILURES = 20
"""Kept of one letter, however often it is replayed: headers have to fit into a frame."""
_FAILURE = {"attempt": int, "code": str, "error": str, "at": str}


def headers(given: dict[str, Any]) -> dict[str, Any]:
    """Those of ours that are well-formed; all others are left out."""
    said: dict[str, Any] = {name: _text(given.get(name)) for name in TEXTS}
    said[REPLAYS] = _replays(given.get(REPLAYS))
    said[PARKED_AT] = _time(given.get(PARKED_AT))
    said[FAILURES] = _failures(given.get(FAILURES))
    said[TRACEPARENT] = trace_context.well_formed(given.get(TRACEPARENT))
    return {name: value for name, value in said.items() if value is not None}


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and len(value) <= LONGEST_TEXT else None


def _replays(value: Any) -> int | None:
    return value if _is_number(value) and 0 <= value <= MOST_REPLAYS else None


def _time(value: Any) -> str | None:
    """UTC, in the one form that the server writes: such texts sort by time."""
    try:
        when = datetime.fromisoformat(value) if isinstance(value, str) else None
        if when is None or when.tzinfo is None:
            return None
        return when.astimezone(UTC).isoformat(timespec="milliseconds")
    except (ValueError, OverflowError):
        return None


def _failures(value: Any) -> list[dict[str, Any]] | None:
    if not isinstance(value, list):
        return None
    return [{name: each[name] for name in _FAILURE} for each in value if _is_failure(each)][
        -MOST_FAILURES:
    ]


def _is_failure(value: Any) -> bool:
    return isinstance(value, dict) and all(
        _is_number(value.get(name)) if kind is int else _text(value.get(name)) is not None
        for name, kind in _FAILURE.items()
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
