"""Who has proved who they are within the last second."""

import time
from collections import OrderedDict
from collections.abc import Callable

from server.security.principal import Principal

LASTS = 1.0
"""Seconds. So long after a key is revoked, a token has expired or a role was changed, a server may
still go by what was true before. It buys one round trip to the database for each request."""
MOST_KNOWN = 10_000


class PrincipalCache:
    """By a digest of their credentials. Only those are kept who may do something: who was refused
    is asked for again each time.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: OrderedDict[str, tuple[float, Principal]] = OrderedDict()

    def get(self, credentials: str) -> Principal | None:
        """None if they have to be authenticated."""
        until, principal = self._known.get(credentials, (0.0, None))
        return principal if self._clock() < until else None

    def keep(self, credentials: str, principal: Principal, asked_at: float) -> None:
        """``asked_at`` is when the database was asked, by this clock: it may have changed since."""
        if principal.barred is None:
            self._known.pop(credentials, None)
            self._known[credentials] = (asked_at + LASTS, principal)
            if len(self._known) > MOST_KNOWN:
                self._known.popitem(last=False)

    def now(self) -> float:
        return self._clock()
