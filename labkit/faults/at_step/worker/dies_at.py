"""A worker that is killed at a step of a request, as by ``kill -9`` at the worst moment."""

import os
import signal

from server.application.hooks import Observer
from server.contract.steps import Step


def dies_at(fatal: Step) -> Observer:
    """The first request that gets as far as ``fatal`` ends the process: nothing is cleaned up."""

    async def observe(step: Step, request_id: str | None) -> None:
        if step is fatal:
            os.kill(os.getpid(), signal.SIGKILL)

    return observe
