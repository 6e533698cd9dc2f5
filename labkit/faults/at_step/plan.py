"""A plan of faults: small files in a folder, which workers obey at the named steps of a request.

    7.armed     this is to happen:             {"step": "committed", "what": "kill", …}
    7.taken     a worker has got to the step, and does it
    7.reached   {"pid": …, "request_id": …, "at": seconds since 1970}
    7.released  the worker that is held may go on
    7.ended     the worker that was paused goes on

Taking is a rename, which succeeds for one worker only: each fault happens once, however many
workers there are, unless the order says always. Since they are files, a plan outlives the kernel
that made it, and a command can make one for a lab that a notebook has opened.
"""

import itertools
import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from labkit.services.files import read_json, write_atomically

ENVIRONMENT = "FAULT_PLAN"
"""Names the folder to a worker."""

_numbers = itertools.count(1)


@dataclass(frozen=True)
class Order:
    """What is to happen when a request gets to ``step``; to ``request_id`` only, if it is given.

    The step is one of ``server.contract.steps.Step``, and ``worker/obeys.py`` knows what may happen
    there; or it is ``request`` or ``reply``, and means the message itself: ``worker/tampers.py``.
    """

    step: str
    what: str
    seconds: float = 0.0
    request_id: str | None = None
    chance: float = 0.0
    """From 0 to 1, for what is left to chance: the dice were thrown when the order was given."""
    always: bool = False
    """Not once, but each time, until it is disarmed."""


@dataclass(frozen=True)
class Armed:
    """One order in the folder."""

    stem: Path

    def reached(self) -> dict[str, object]:
        """Who got there, with which request, and when; empty before."""
        return read_json(self.stem.with_suffix(".reached"))

    def release(self) -> None:
        self.stem.with_suffix(".released").touch()

    def disarm(self) -> None:
        """It no longer happens, if no worker has got there yet; one that is held goes on."""
        self.stem.with_suffix(".armed").unlink(missing_ok=True)
        self.release()

    def is_over(self) -> bool:
        """No worker has got there, or the one that did goes on."""
        return not self.stem.with_suffix(".taken").exists() or self._ended.exists()

    @property
    def _ended(self) -> Path:
        return self.stem.with_suffix(".ended")

    # The worker's side.

    def take(self) -> bool:
        """True for one worker; the others come too late."""
        try:
            self.stem.with_suffix(".armed").rename(self.stem.with_suffix(".taken"))
        except FileNotFoundError:
            return False
        return True

    def announce(self, request_id: str | None) -> None:
        """Only the first time: an order that holds always began then."""
        if self.stem.with_suffix(".reached").exists():
            return
        report = {"pid": os.getpid(), "request_id": request_id, "at": time.time()}
        write_atomically(self.stem.with_suffix(".reached"), json.dumps(report))

    def end(self) -> None:
        self._ended.touch()

    def released(self) -> bool:
        return self.stem.with_suffix(".released").exists()


class Plan:
    """The orders in ``folder``, from either side."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def of_lab(cls, home: Path, vhost: str) -> Self:
        """That of the lab with this virtual host: the same in the kernel and for a command."""
        return cls(home / ".lab" / "faults" / vhost)

    def clear(self) -> None:
        """Nothing is armed, no worker is held: a folder of an earlier run is emptied."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for file in self.folder.iterdir():
            file.unlink(missing_ok=True)

    def arm(self, order: Order) -> Armed:
        """Orders of several processes are in one folder; and a pid comes back, one day."""
        name = f"{time.time_ns()}-{os.getpid()}-{next(_numbers)}"
        armed = Armed(self.folder / name)
        write_atomically(armed.stem.with_suffix(".armed"), json.dumps(asdict(order)))
        return armed

    def take(self, step: str, request_id: str | None) -> tuple[Order, Armed] | None:
        """The order for this step and request, if there is one and it is now this worker's."""
        for path in sorted(self.folder.glob("*.armed")):
            order = _read(path)
            if order is None or order.step != step or order.request_id not in (None, request_id):
                continue
            armed = Armed(path.with_suffix(""))
            if order.always or armed.take():
                armed.announce(request_id)
                return order, armed
        return None


def _read(path: Path) -> Order | None:
    content = read_json(path)
    return Order(**content) if content else None
