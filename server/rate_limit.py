"""How fast one caller may ask, decided before anything is read from the database."""

import time
from collections import OrderedDict
from collections.abc import Callable

from server.errors import RateLimited

MOST_CALLERS = 10_000
"""Callers remembered at a time. Whoever asked longest ago is forgotten first, and starts afresh."""


class RateLimit:
    """A token bucket for each caller (https://en.wikipedia.org/wiki/Token_bucket).

    A caller may ask ``burst`` times at once, and ``rate`` times a second in the long run. It holds
    for one process: with two workers a caller gets twice as much.
    """

    def __init__(
        self,
        rate: float = 2000.0,
        burst: float = 10_000.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rate = rate
        self._burst = burst
        self._clock = clock
        self._buckets: OrderedDict[str | None, tuple[float, float]] = OrderedDict()

    def take(self, caller: str | None) -> None:
        """Raises ``RateLimited`` if this caller's bucket is empty. None: whoever is nobody."""
        now = self._clock()
        tokens, then = self._buckets.pop(caller, (self._burst, now))
        tokens = min(self._burst, tokens + (now - then) * self._rate)
        self._buckets[caller] = (max(tokens - 1, 0.0), now) if tokens >= 1 else (tokens, now)
        if len(self._buckets) > MOST_CALLERS:
            self._buckets.popitem(last=False)
        if tokens < 1:
            raise RateLimited
