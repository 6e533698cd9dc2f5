"""Every fault that there is, in an order that the seed decides.

They are dealt like cards: none comes again before all others were there. So a hundred faults are
all kinds, and not by luck.
"""

import random
from collections.abc import Awaitable, Callable, Iterator

from labkit.faults.fault import Fault
from labkit.faults.faults import Faults
from server.steps import Step

Make = Callable[[Faults], Awaitable[Fault]]

SLOW = 3.0
"""Seconds that a slow request takes: more than a duplicate waits for it."""


def dealt(dice: random.Random) -> Iterator[Make]:
    """Without end."""
    while True:
        cards = deck(dice)
        dice.shuffle(cards)
        yield from cards


def deck(dice: random.Random) -> list[Make]:
    """All of them, once; faults at a step come at three steps, which are chosen anew each time."""
    return [*_of_workers(), *_of_services(), *_at_steps(dice.sample(list(Step), 3))]


def _of_workers() -> list[Make]:
    return [
        lambda faults: faults.kill("worker"),
        lambda faults: faults.stop("worker"),
        lambda faults: faults.pause("worker"),
    ]


def _of_services() -> list[Make]:
    return [make for target in ("broker", "database") for make in _of_service(target)]


def _of_service(target: str) -> list[Make]:
    return [
        lambda faults: faults.kill(target),
        lambda faults: faults.stop(target),
        lambda faults: faults.restart(target),
        lambda faults: faults.pause(target),
    ]


def _at_steps(steps: list[Step]) -> list[Make]:
    return [make for step in steps for make in _at_step(step)]


def _at_step(step: Step) -> list[Make]:
    return [
        lambda faults: faults.kill(at=step),
        lambda faults: faults.stop(at=step),
        lambda faults: faults.pause(at=step),
        lambda faults: faults.hold(at=step),
        lambda faults: faults.slow(SLOW, at=step),
        lambda faults: faults.fail(at=step),
    ]
