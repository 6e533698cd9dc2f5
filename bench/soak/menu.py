"""Every fault that there is, in an order that the seed decides.

They are dealt like cards: none comes again before all others were there. So a hundred faults are
all kinds, and not by luck.
"""

import random
from collections.abc import Awaitable, Callable, Iterator

from labkit.faults.fault import Fault
from labkit.faults.faults import Faults
from labkit.faults.messages import Kind
from labkit.private import CLIENT, DATABASE, WORKER
from server.contract.steps import Step
from server.contract.topology import REQUESTS

Make = Callable[[Faults], Awaitable[Fault]]

SLOW = 3.0
"""Seconds that a slow request takes: more than a duplicate waits for it."""
LATENCY, JITTER = 0.2, 0.15
"""Seconds in each direction."""
NARROW = 20_000
"""Bytes a second."""
DEADLY = "deadly"
LEADER = f"leader of {REQUESTS}"
KINDS: tuple[Kind, ...] = ("request", "reply")


def dealt(dice: random.Random, *, of_cluster: bool = False) -> Iterator[Make]:
    """Without end; for a cluster there are more of them."""
    while True:
        cards = [*deck(dice), *(_of_nodes() if of_cluster else [])]
        dice.shuffle(cards)
        yield from cards


def deck(dice: random.Random) -> list[Make]:
    """All of them, once; faults at a step come at three steps, chosen again each time."""
    at_steps = _at_steps(dice.sample(list(Step), 3))
    return [*_of_workers(), *_of_services(), *_of_lines(), *_of_messages(), *at_steps]


def _of_workers() -> list[Make]:
    return [
        lambda faults: faults.kill("worker"),
        lambda faults: faults.stop("worker"),
        lambda faults: faults.pause("worker"),
        lambda faults: faults.slow(LATENCY),
        lambda faults: faults.fail(at=Step.APPLIED, always=True),
        deadly,
        lambda faults: faults.close_connections("worker"),
        lambda faults: faults.close_connections("client"),
        lambda faults: faults.close_connections("database"),
    ]


async def deadly(faults: Faults) -> Fault:
    """A message that kills every worker that takes it, again and again, as long as this lasts."""
    kill = await faults.kill(at=Step.RECEIVED, request_id=DEADLY, always=True)
    await faults.messages.poison("no JSON", request_id=DEADLY)
    return kill


def _of_services() -> list[Make]:
    of_each = [make for target in ("broker", "database") for make in _of_service(target)]
    return [*of_each, lambda faults: faults.memory_alarm()]


def _of_service(target: str) -> list[Make]:
    return [
        lambda faults: faults.kill(target),
        lambda faults: faults.stop(target),
        lambda faults: faults.restart(target),
        lambda faults: faults.pause(target),
    ]


def _of_nodes() -> list[Make]:
    of_each = [make for target in (LEADER, "broker-2") for make in _of_service(target)]
    return [
        *of_each,
        lambda faults: faults.partition(LEADER),
        lambda faults: faults.partition("broker-1", "broker-2"),
        lambda faults: faults.lose_disk(LEADER),
        lambda faults: faults.lose_disk("broker-3"),
        lambda faults: faults.rolling_restart(),
    ]


def _of_lines() -> list[Make]:
    of_each = [make for link in (CLIENT, WORKER, DATABASE) for make in _of_line(link)]
    return [*of_each, lambda faults: faults.network.cut_after(DATABASE, b"COMMIT;")]


def _of_line(link: str) -> list[Make]:
    return [
        lambda faults: faults.network.latency(link, LATENCY, JITTER),
        lambda faults: faults.network.bandwidth(link, NARROW),
        lambda faults: faults.network.black_hole(link),
        lambda faults: faults.network.reset(link),
        lambda faults: faults.network.half_close(link, "to client"),
        lambda faults: faults.network.half_close(link, "to server"),
    ]


def _of_messages() -> list[Make]:
    of_each = [make for kind in KINDS for make in _of_message(kind)]
    return [*of_each, lambda faults: faults.messages.poison()]


def _of_message(kind: Kind) -> list[Make]:
    return [
        lambda faults: faults.messages.drop(kind),
        lambda faults: faults.messages.duplicate(kind),
        lambda faults: faults.messages.delay(kind, SLOW),
        lambda faults: faults.messages.corrupt(kind),
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
