"""Two `make` at once in one clone take turns."""

import contextlib
import fcntl
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO


@contextlib.contextmanager
def exclusive(path: Path, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold the lock for the block; calls `waiting` once if another process has it now.

    The system releases it when its holder ends, however that happens.
    """
    with _open(path) as file:
        announced = False
        while not _taken(file.fileno()):
            if not announced:
                waiting()
                announced = True
            time.sleep(0.1)  # rather than a blocking flock: so that signals are handled
        yield


@contextlib.contextmanager
def only_one(path: Path) -> Iterator[bool]:
    """Whether we are the one who holds the lock; does not wait."""
    with _open(path) as file:
        yield _taken(file.fileno())


def _open(path: Path) -> TextIO:
    path.touch(mode=0o600)
    return path.open("w")


def _taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
