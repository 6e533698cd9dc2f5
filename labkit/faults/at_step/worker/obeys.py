"""A right server that obeys a plan of faults: at the step that an order names, it happens."""

import asyncio
import os
import signal

from labkit.faults.at_step.plan import Armed, Order, Plan
from server.application.hooks import Observer
from server.contract.steps import Step

LOOKS_AGAIN = 0.005
"""Seconds between two looks of a request that is held."""


class OnPurpose(Exception):
    """An unexpected exception that was ordered."""


def obeys(plan: Plan) -> Observer:
    async def observe(step: Step, request_id: str | None) -> None:
        taken = plan.take(step, request_id)
        if taken is not None:
            await _carry_out(*taken)

    return observe


async def _carry_out(order: Order, armed: Armed) -> None:
    match order.what:
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "stop":
            os.kill(os.getpid(), signal.SIGTERM)
        case "pause":
            _pause(armed)
        case "slow":
            await asyncio.sleep(order.seconds)
        case "fail":
            raise OnPurpose(f"ordered at {order.step}")
        case "hold":
            while not armed.released():  # noqa: ASYNC110  (another process releases it)
                await asyncio.sleep(LOOKS_AGAIN)


def _pause(armed: Armed) -> None:
    if not armed.released():
        os.kill(os.getpid(), signal.SIGSTOP)  # returns when we are let go on
    armed.end()
