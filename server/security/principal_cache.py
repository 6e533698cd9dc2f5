"""Who has proved who they are within the last second."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from typing import Any

from server.security.principal import Principal

LASTS = 1.0
"""Seconds. So long after a key is revoked, a token has expired or a role was changed, a server may
still go by what was true before. It buys one round trip to the database for each request."""
MOST_KNOWN = 10_000

LookUp = Callable[[], Coroutine[Any, Any, Principal]]
"""Asks the database."""


class PrincipalCache:
    """By a digest of their credentials. Only those are kept who may do something: who was refused
    is looked up again each time.

    All that come while one look-up is under way share it. Without that, each second every request
    in flight would look up the same caller, and wait for the others to do so.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: OrderedDict[str, tuple[float, Principal]] = OrderedDict()
        self._looking: dict[str, tuple[float, asyncio.Task[Principal]]] = {}
        """Look-ups, and until when they may be joined."""

    async def get(self, credentials: str, look_up: LookUp) -> Principal:
        """Raises what ``look_up`` raises."""
        until, principal = self._known.get(credentials, (0.0, None))
        if principal is not None and self._clock() < until:
            return principal
        # Its caller may go away, and others go on waiting for it.
        return await asyncio.shield(self._look_up(credentials, look_up))

    def _look_up(self, credentials: str, look_up: LookUp) -> asyncio.Task[Principal]:
        now = self._clock()
        until, task = self._looking.get(credentials, (0.0, None))
        if task is not None and not task.done() and now < until:
            return task
        until = now + LASTS  # from when the database is asked: it may have changed since
        task = asyncio.create_task(look_up())
        self._looking[credentials] = until, task
        task.add_done_callback(lambda done: self._looked_up(credentials, until, done))
        return task

    def _looked_up(self, credentials: str, until: float, task: asyncio.Task[Principal]) -> None:
        if self._looking.get(credentials) == (until, task):
            del self._looking[credentials]
        if task.cancelled() or task.exception() is not None:
            return
        principal = task.result()
        if principal.barred is None:
            self._known.pop(credentials, None)
            self._known[credentials] = until, principal
            if len(self._known) > MOST_KNOWN:
                self._known.popitem(last=False)
