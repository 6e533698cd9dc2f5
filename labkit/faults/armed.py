"""A fault that waits for a request to get to a step."""

import asyncio
import time
from dataclasses import dataclass, field

from labkit.faults.fault import Fault
from labkit.faults.plan import Armed

LOOKS_AGAIN = 0.005
"""Seconds."""


class NotReached(Exception):
    """No request got to the step in time: is anything sent, and is a worker there to take it?"""


@dataclass
class ArmedFault(Fault):
    """``at`` is None until a request has got to its step. Healing before that disarms it."""

    armed: Armed = field(default=None, repr=False)  # type: ignore[assignment]

    def happened(self) -> bool:
        if self.at is None and (report := self.armed.reached()):
            self.at = float(str(report["at"]))
        return self.at is not None

    async def reached(self, within: float = 10.0) -> str | None:
        """Returns when a request is there: its id. Raises ``NotReached`` after that time."""
        deadline = time.monotonic() + within
        while not self.happened():
            if time.monotonic() > deadline:
                raise NotReached(f"{self.name}: {NotReached.__doc__}")
            await asyncio.sleep(LOOKS_AGAIN)
        request_id = self.armed.reached()["request_id"]
        return None if request_id is None else str(request_id)

    @property
    def pid(self) -> int | None:
        """Of the worker that got there."""
        pid = self.armed.reached().get("pid")
        return None if pid is None else int(str(pid))
