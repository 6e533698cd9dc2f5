"""One thing that happened to a request."""

from dataclasses import dataclass
from enum import StrEnum

CLIENT, WORKER, DATABASE, REPLIES = "client", "worker", "PostgreSQL", "reply queue"
RETRIES, OPERATOR = "retry queue", "operator"


class Kind(StrEnum):
    SEEN = "seen"
    GAP = "gap"
    """Not seen: a worker reported nothing more."""
    FAULT = "fault"
    """It happened to the system, not to this request alone."""


@dataclass(frozen=True)
class Event:
    """``source`` did something to ``target``; the same one for what it did by itself."""

    chapter: int
    """0 is before the first delivery; each delivery begins another one."""
    rank: float
    """Its place in the chapter."""
    at: float
    """Seconds since 1970."""
    source: str
    target: str
    label: str
    kind: Kind = Kind.SEEN
