"""How many writes may share a transaction now: fewer, as long as what they do takes its time."""

import time

SLOW = 0.05
"""Seconds. Writes that take longer than that on average, two at least, are not for sharing. A
single one says little: on a busy machine any may have to wait once.
"""

SLOW_FOR = 1.0
"""Seconds after slow writes in which each is done by itself. Then two may try it again."""


class Pace:
    """``most`` may share a transaction as long as all goes well."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._size = most
        self._slow_until = float("-inf")

    @property
    def is_sharing(self) -> bool:
        """If not, each write is done by itself."""
        return self._most > 1 and time.monotonic() >= self._slow_until

    @property
    def size(self) -> int:
        """Writes that may share the next transaction."""
        return self._size

    def took(self, writes: int, seconds: float) -> None:
        """What was quick for so many is tried with twice as many."""
        if writes > 1 and seconds > SLOW * writes:
            self.was_slow()
        elif writes >= self._size:
            self._size = min(self._most, 2 * self._size)

    def was_slow(self) -> None:
        self._slow_until = time.monotonic() + SLOW_FOR
        self._size = min(self._most, 2)
