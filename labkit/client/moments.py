"""What a client can be seen doing: a recording and a ledger look on through its ``observers``."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from enum import StrEnum

KEPT = 2_000
"""Of each kind of moment: an experiment makes 100,000 calls, and an exercise some dozens."""


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


class FirstMoments:
    """When each moment was first seen of each request, by the clock of this process."""

    def __init__(self) -> None:
        self._at: dict[Moment, dict[str, datetime]] = {moment: {} for moment in Moment}

    def note(self, moment: Moment, request_id: str) -> None:
        """An observer. Once ``KEPT`` are there, further ones are not kept."""
        seen = self._at[moment]
        if len(seen) < KEPT:
            seen.setdefault(request_id, datetime.now(UTC))

    def of(self, moment: Moment) -> Mapping[str, datetime]:
        """Request's id → when, in UTC."""
        return self._at[moment]

    def clear(self) -> None:
        for seen in self._at.values():
            seen.clear()
