"""Ctrl-C, SIGTERM and SIGHUP as one exception, raised once."""

import contextlib
import signal
import types
from collections.abc import Iterator

NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(BaseException):
    """The user, or the system, wants us to end. Not an error: cleaning up is all that is left."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.exit_code = 128 + number


@contextlib.contextmanager
def as_interruption() -> Iterator[None]:
    """In the block, the first such signal raises `Interrupted`; the others are ignored, since a
    second Ctrl-C in the middle of cleaning up is how things are left behind."""
    before = {number: signal.getsignal(number) for number in NUMBERS}
    for number in NUMBERS:
        if not (number == signal.SIGHUP and before[number] is signal.SIG_IGN):  # `nohup make up`
            signal.signal(number, _interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _interrupt(number: int, _: types.FrameType | None) -> None:
    for each in NUMBERS:  # a function, not SIG_IGN, which the programs we start would inherit
        signal.signal(each, _ignore)
    raise Interrupted(number)


def _ignore(number: int, _: types.FrameType | None) -> None:
    pass
