"""A fault that waits for a request to get to a step."""

import asyncio
import contextlib
import os
import signal
import time
from dataclasses import dataclass, field

from labkit.faults.at_step.plan import Armed
from labkit.faults.fault import Fault, NotReached

LOOKS_AGAIN = 0.005
"""Seconds."""
GOES_ON_WITHIN = 5.0
"""Seconds. After these, a worker that was paused is taken to be dead."""


@dataclass
class ArmedFault(Fault):
    """``at`` is None until a request has got to its step. Healing before that disarms it.

    ``lasts`` is how many seconds it is there then, None for until it is healed. What has ended by
    itself is healed.
    """

    armed: Armed = field(default=None, repr=False)  # type: ignore[assignment]
    lasts: float | None = None

    def happened(self) -> bool:
        if self.at is None and (report := self.armed.reached()):
            self.at = float(str(report["at"]))
        if self.at is not None and self.healed is None and self.lasts is not None:
            end = self.at + self.lasts
            self.healed = end if end <= time.time() else None
        return self.at is not None

    async def disarm(self) -> None:
        """It no longer happens; a worker that is held, or paused, goes on."""
        self.armed.disarm()
        deadline = time.monotonic() + GOES_ON_WITHIN
        while self.pauses and not self.armed.is_over() and time.monotonic() < deadline:
            if self.pid is not None:  # it may say so before it stops: so not only once
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self.pid, signal.SIGCONT)
            await asyncio.sleep(LOOKS_AGAIN)

    @property
    def pauses(self) -> bool:
        return self.name.startswith("pause")

    async def reached(self, within: float = 10.0) -> str | None:
        deadline = time.monotonic() + within
        while not self.happened():
            if time.monotonic() > deadline:
                raise NotReached(f"{self.name}: {NotReached.__doc__}")
            await asyncio.sleep(LOOKS_AGAIN)
        return self.request_id

    @property
    def request_id(self) -> str | None:
        """Of the request that got there; None before, and while the worker did not know it yet."""
        request_id = self.armed.reached().get("request_id")
        return None if request_id is None else str(request_id)

    @property
    def pid(self) -> int | None:
        """Of the worker that got there."""
        pid = self.armed.reached().get("pid")
        return None if pid is None else int(str(pid))
