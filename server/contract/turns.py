"""Messages with the same id are published one after the other.

aiormq knows a message that the broker returns by its ``message_id``, and of several with the same
one only the last. So of two that are under way at a time, one that came back would count as taken.
"""

import asyncio
from weakref import WeakValueDictionary


class Turns:
    """Those of one channel."""

    def __init__(self) -> None:
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def of(self, message_id: str | None) -> asyncio.Lock:
        """To be held until the message is confirmed."""
        return self._locks.setdefault(message_id or "", asyncio.Lock())
