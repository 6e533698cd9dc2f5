"""What a client can be seen doing: a recording and a ledger look on through its ``observers``."""

from collections.abc import Callable
from enum import StrEnum


class Moment(StrEnum):
    """In the life of one call, which may have some of them more than once."""

    ASKED = "asked"
    """The call began."""
    SENT = "sent"
    """The request was published: again after a lost connection."""
    ACCEPTED = "accepted"
    """The broker has confirmed it."""
    RETURNED = "returned"
    """The broker has no queue for it."""
    REFUSED = "refused"
    """The queue was full."""
    GAVE_UP = "gave up"
    """Its time was over: the outcome is unknown."""
    CAME_LATE = "came late"
    """A reply for which no call waits any more."""


Observer = Callable[[Moment, str], None]
"""Is given the moment and the request's id. It runs in the client's event loop, so it is quick."""
