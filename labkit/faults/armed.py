"""A fault that waits for a request to get to a step."""

import asyncio
import time
from dataclasses import dataclass, field

from labkit.faults.fault import Fault, NotReached
from labkit.faults.plan import Armed

LOOKS_AGAIN = 0.005
"""Seconds."""


@dataclass
class ArmedFault(Fault):
    """``at`` is None until a request has got to its step. Healing before that disarms it."""

    armed: Armed = field(default=None, repr=False)  # type: ignore[assignment]

    def happened(self) -> bool:
        if self.at is None and (report := self.armed.reached()):
            self.at = float(str(report["at"]))
        return self.at is not None

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
