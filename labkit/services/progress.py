"""What the user sees while waiting: a line per finished step, and a sign of life in between."""

import contextlib
import sys
import threading
import time
from collections.abc import Iterator
from typing import TextIO

FIRST_BEAT, NEXT_BEATS = 2.0, 5.0
"""Seconds of silence after which a log, which has no live line, gets one with what is going on."""


class Progress:
    """Steps may run in several threads; lines never mix. Use it as a context manager."""

    def __init__(self, out: TextIO = sys.stderr) -> None:
        self._out = out
        self._live = out.isatty()
        self._running: dict[str, float] = {}
        self._lock = threading.RLock()
        self._quiet_since = time.monotonic()
        self._beat = FIRST_BEAT
        self._ended = threading.Event()
        self._ticker = threading.Thread(target=self._tick, daemon=True)

    def __enter__(self) -> "Progress":
        self._ticker.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._ticker.join()
        self._write("")

    @contextlib.contextmanager
    def running(self, title: str) -> Iterator[None]:
        """The step `title` is under way while the block lasts."""
        with self._lock:
            self._running[title] = time.monotonic()
        try:
            yield
        finally:
            with self._lock:
                del self._running[title]

    def done(self, title: str, text: str, seconds: float) -> None:
        self.say(f"  ✓ {title:<12} {text:<48} {seconds:5.1f} s")

    def failed(self, title: str) -> None:
        self.say(f"  ✗ {title:<12} failed")

    def say(self, line: str) -> None:
        with self._lock:
            self._write(line + "\n")
            self._quiet_since, self._beat = time.monotonic(), FIRST_BEAT

    def _tick(self) -> None:
        while not self._ended.wait(0.1):
            with self._lock:
                now = time.monotonic()
                doing = ", ".join(f"{t} {now - s:.0f} s" for t, s in self._running.items())
                if self._live:
                    self._write(f"  … {doing}" if doing else "")
                elif doing and now - self._quiet_since > self._beat:
                    self._write(f"  … {doing}\n")
                    self._quiet_since, self._beat = now, NEXT_BEATS

    def _write(self, text: str) -> None:
        with contextlib.suppress(OSError, ValueError):  # the terminal may be gone: work goes on
            try:
                self._out.write("\r\x1b[K" * self._live + text)
            except UnicodeEncodeError:
                self._out.write(text.encode("ascii", "replace").decode())
            self._out.flush()
