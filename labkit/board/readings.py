"""What a board shows: numbers of the broker over time, and what the workers logged meanwhile."""

import time
from collections import deque
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from labkit.services.logs import parsed
from server.contract.log_events import DEAD_LETTERED, REQUEST

KEPT = 120
"""Readings of each queue: about a minute."""
LETTERS = 5
"""Dead letters that are shown, the latest ones."""
COUNTS = 4
"""Of the broker's counts, over which a rate is taken: it may be wrong by one in so many."""
REQUEST_LINE, DEAD_LETTER_LINE = (
    f'"event":"{event}"'.encode() for event in (REQUEST, DEAD_LETTERED)
)

Counters = Mapping[str, Mapping[str, int]]


@dataclass
class Readings:
    """``every``: seconds between two counts of the broker."""

    every: float = 1.0
    depths: dict[str, deque[int]] = field(default_factory=dict)
    requests: int = 0
    letters: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=LETTERS))
    """Their ``time``, ``id`` and ``reason``."""
    _counted: deque[tuple[float, Counters]] = field(default_factory=deque)
    _read: dict[Path, int] = field(default_factory=dict)
    """Log → how much of it was read."""

    def see_queues(self, messages: "pd.Series[int]") -> None:
        """How many each queue has. One that is gone has none."""
        for name in messages.index:
            self.depths.setdefault(str(name), deque(maxlen=KEPT))
        for name, depths in self.depths.items():
            depths.append(int(messages.get(name, 0)))

    def see_counters(self, counters: Counters) -> None:
        now = time.monotonic()
        self._counted.append((now, counters))
        while self._counted[0][0] < now - COUNTS * self.every:
            self._counted.popleft()

    def rate(self, queue: str, word: str) -> float | None:
        """Messages a second, about; None until the broker has counted some times."""
        if not self._counted:
            return None
        (began, before), (ended, after) = self._counted[0], self._counted[-1]
        if ended - began < (COUNTS - 1) * self.every:
            return None
        count, earlier = (each.get(queue, {}).get(word, 0) for each in (after, before))
        return (count - earlier if count >= earlier else count) / (ended - began)

    def see_logs(self, logs: Iterable[Path]) -> None:
        """What was logged since the last look. It is counted, not parsed: thousands a second."""
        for log in logs:
            with suppress(FileNotFoundError), log.open("rb") as lines:
                lines.seek(self._read.get(log, 0))
                new = lines.read()
                new = new[: new.rfind(b"\n") + 1]  # the rest is still being written
                self._read[log] = self._read.get(log, 0) + len(new)
                self.requests += new.count(REQUEST_LINE)
                if DEAD_LETTER_LINE in new:
                    self._see_letters(new)

    def _see_letters(self, lines: bytes) -> None:
        for line in lines.splitlines():
            if DEAD_LETTER_LINE in line and (event := parsed(line)):
                self.letters.append(event)
