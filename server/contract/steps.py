"""The named steps of a request: what logs, diagrams and failure injection refer to."""

from enum import StrEnum


class Step(StrEnum):
    """In this order. A read skips ``claimed`` and ``committed``; a replay skips ``applied``."""

    RECEIVED = "received"
    PARSED = "parsed"
    AUTHENTICATED = "authenticated"
    CLAIMED = "claimed"
    APPLIED = "applied"
    COMMITTED = "committed"
    REPLIED = "replied"
    ACKED = "acked"
