"""How long a client waits before it tries again: full jitter, as lesson 08 teaches it."""

import random


class Pauses:
    """Each is any time up to a limit, which doubles from ``first`` to ``longest``, in seconds.

    A broker that comes back loses all its clients at one moment. Without chance they would all be
    back at one moment, too, at each attempt once more.
    """

    def __init__(self, first: float, longest: float, chance: random.Random | None = None) -> None:
        self._first = self._limit = first
        self._longest = longest
        self._chance = chance or random.Random()  # noqa: S311  (no secret is made with it)

    def next(self) -> float:
        limit, self._limit = self._limit, min(self._limit * 2, self._longest)
        return self._chance.uniform(0, limit)

    def begin_again(self) -> None:
        """The next one is a short one."""
        self._limit = self._first
