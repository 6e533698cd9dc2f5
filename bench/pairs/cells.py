"""What may happen at a named step of a request: to its worker, 48 cells and 1,128 pairs of them;
and to the leader of its queue, 24 cells more, on a cluster.
"""

import asyncio
import os
import random
import signal
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from itertools import combinations

from labkit import Lab
from labkit.faults.fault import Fault
from server.contract.steps import Step
from server.contract.topology import REQUESTS

LEADER = f"leader of {REQUESTS}"
LOCK_TIMEOUT = 0.3
"""Seconds that a repetition waits for the first request with its key: see ``server``'s limits."""

Arm = Callable[[Lab, str, str | None], Awaitable[Fault]]
"""At this step, of this request or of the first one that gets there."""
Then = Callable[[Lab, Fault], Awaitable[None]]
"""What else happens once the request is there."""


async def nothing_else(lab: Lab, fault: Fault) -> None:
    """It has happened already."""


async def signalled_again(lab: Lab, fault: Fault) -> None:
    os.kill(fault.pid, signal.SIGTERM)  # type: ignore[attr-defined]


async def disconnected(lab: Lab, fault: Fault) -> None:
    await lab.faults.close_connections("worker")


async def cut_off_from_the_database(lab: Lab, fault: Fault) -> None:
    await lab.faults.close_connections("database")


async def beyond_the_lock_timeout(lab: Lab, fault: Fault) -> None:
    await asyncio.sleep(2 * LOCK_TIMEOUT)


async def the_leader_is_killed(lab: Lab, fault: Fault) -> None:
    await lab.faults.kill(LEADER)


async def the_leader_is_cut_off(lab: Lab, fault: Fault) -> None:
    await lab.faults.partition(LEADER)


async def the_leader_is_frozen(lab: Lab, fault: Fault) -> None:
    await lab.faults.pause(LEADER)


async def killed(lab: Lab, step: str, request_id: str | None) -> Fault:
    return await lab.faults.kill(at=step, request_id=request_id)


async def failing(lab: Lab, step: str, request_id: str | None) -> Fault:
    return await lab.faults.fail(at=step, request_id=request_id)


async def paused(lab: Lab, step: str, request_id: str | None) -> Fault:
    return await lab.faults.pause(at=step, request_id=request_id)


async def stopped(lab: Lab, step: str, request_id: str | None) -> Fault:
    return await lab.faults.stop(at=step, request_id=request_id)


async def held(lab: Lab, step: str, request_id: str | None) -> Fault:
    return await lab.faults.hold(at=step, request_id=request_id)


OF_A_WORKER: dict[str, tuple[Arm, Then]] = {
    "SIGKILL": (killed, nothing_else),
    "exception": (failing, nothing_else),
    "connection closed": (held, disconnected),
    "backend terminated": (held, cut_off_from_the_database),
    "paused": (paused, beyond_the_lock_timeout),
    "SIGTERM twice": (stopped, signalled_again),
}
OF_THE_LEADER: dict[str, tuple[Arm, Then]] = {
    "leader killed": (held, the_leader_is_killed),
    "leader cut off": (held, the_leader_is_cut_off),
    "leader frozen": (held, the_leader_is_frozen),
}
FAULTS = OF_A_WORKER | OF_THE_LEADER


@dataclass(frozen=True, order=True)
class Cell:
    """``fault`` is a name of ``FAULTS``."""

    fault: str
    step: str

    def __str__(self) -> str:
        return f"{self.fault} at {self.step}"


CELLS = [Cell(fault, str(step)) for fault in OF_A_WORKER for step in Step]
Cells = tuple[Cell, ...]
"""One, or two of which the second happens while the system recovers from the first."""


def matrix() -> list[Cells]:
    """Each cell by itself, those of the leader first: for a cluster."""
    of_the_leader = [Cell(fault, str(step)) for fault in OF_THE_LEADER for step in Step]
    return [(cell,) for cell in of_the_leader + CELLS]


def pairs() -> list[Cells]:
    """Each two cells once; which of them comes first alternates."""
    both: Iterator[Cells] = combinations(CELLS, 2)
    return [pair if number % 2 else pair[::-1] for number, pair in enumerate(both)]


def sample(count: int, seed: int) -> list[Cells]:
    """So many of them, chosen by ``seed``."""
    dice = random.Random(seed)  # noqa: S311  (no secret is made with it)
    return dice.sample(pairs(), count)
