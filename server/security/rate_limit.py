"""How fast one caller may ask."""

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable

from server.contract.errors import RateLimited

MOST_CALLERS = 10_000
"""Callers remembered at a time. The one that asked longest ago is forgotten first, and starts
afresh."""


FAILURES = "failures"


class RateLimit:
    """A token bucket for each name (https://en.wikipedia.org/wiki/Token_bucket).

    Under one name ``burst`` requests may come at once, and ``rate`` a second in the long run. It
    holds for one process: with two workers a caller gets twice as much.
    """

    def __init__(
        self,
        rate: float = 10_000.0,
        burst: float = 20_000.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rate = rate
        self._burst = burst
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, name: str) -> None:
        """Raises ``RateLimited`` if the bucket of this name is empty."""
        now = self._clock()
        tokens = self._tokens(name, now)
        self._buckets.pop(name, None)
        self._buckets[name] = (max(tokens - 1, 0.0), now) if tokens >= 1 else (tokens, now)
        if len(self._buckets) > MOST_CALLERS:
            self._buckets.popitem(last=False)
        if tokens < 1:
            raise RateLimited

    def require(self, name: str) -> None:
        """The same, but takes nothing."""
        if self._tokens(name, self._clock()) < 1:
            raise RateLimited

    def _tokens(self, name: str, now: float) -> float:
        tokens, then = self._buckets.get(name, (self._burst, now))
        return min(self._burst, tokens + (now - then) * self._rate)


class Admission:
    """Decides who may ask now, before and after it is known who that is.

    Known users are limited each by themselves, and without asking the database while they are over
    their limit. What is only claimed proves nothing: an attacker claims a new name each time. So
    all credentials that have not proved true share one bucket of failures, and those that have
    lately pass by it: a flood of guesses locks out no known caller. Requests without credentials
    are refused without any work, and logins have a bucket for each name, so neither stands in the
    way of the other.
    """

    def __init__(self, limit: RateLimit) -> None:
        self._limit = limit
        self._users: OrderedDict[str, int] = OrderedDict()
        """Credentials that have proved true, as digests, and whose they are."""

    def claimed(self, credentials: str | None) -> None:
        """A request with these is to be authenticated. Raises ``RateLimited``."""
        if credentials is None:
            self._limit.take("anonymous")
        elif (user_id := self._users.get(credentials)) is not None:
            self._limit.take(f"user {user_id}")
        else:
            self._limit.require(FAILURES)

    def failed(self, credentials: str) -> None:
        """They are not known. Raises ``RateLimited`` if too many others are not known either."""
        self._users.pop(credentials, None)
        self._limit.take(FAILURES)

    def proved(self, credentials: str, user_id: int) -> None:
        """They are this user's. Raises ``RateLimited`` if the user asks too fast."""
        if self._users.pop(credentials, None) is None:
            self._limit.take(f"user {user_id}")
        self._users[credentials] = user_id
        if len(self._users) > MOST_CALLERS:
            self._users.popitem(last=False)

    def login(self, name: object) -> None:
        """An attempt to log in under this name. Raises ``RateLimited``."""
        digest = hashlib.sha256(str(name).encode("utf-8", "surrogatepass")).hexdigest()
        self._limit.take(f"login {digest}")
