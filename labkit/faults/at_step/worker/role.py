"""The role that such a process serves in, made of a dispatcher and a worker."""

import asyncio
import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from labkit.faults.at_step.plan import ENVIRONMENT, Plan
from labkit.faults.at_step.worker.dies_at import dies_at
from labkit.faults.at_step.worker.obeys import obeys
from labkit.faults.at_step.worker.reports import reporting
from labkit.faults.at_step.worker.tampers import Tampers
from server.application.dispatcher import Dispatcher
from server.application.hooks import Observer, all_of, no_observer
from server.contract.steps import Step
from server.lifecycle import Role
from server.persistence.database import Database
from server.settings import Settings
from server.telemetry import Telemetry
from server.transports.amqp.delivery_processor import DeliveryProcessor
from server.transports.amqp.worker import Worker


def obeying(
    telemetry: Telemetry,
    dispatcher: Callable[[Database, Observer], Dispatcher] = Dispatcher,
    worker: Callable[[Settings, Dispatcher, Observer], Worker] = Worker,
    *,
    fatal: Step | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Role:
    """A worker that dies at the step ``fatal``, or else obeys the plan that FAULT_PLAN names."""
    folder = environ.get(ENVIRONMENT)
    plan = Plan(Path(folder)) if folder else None
    observe = all_of(telemetry.observe, _observer(fatal, plan))

    async def serve(database: Database, settings: Settings, stop: asyncio.Event) -> None:
        serving = worker(settings, dispatcher(database, observe), observe)
        if plan is not None and serving.answers_with is DeliveryProcessor:
            serving.answers_with = partial(Tampers, plan)
        telemetry.look_on_deliveries(serving)
        async with telemetry.watching_queues():
            await serving.run(stop)

    return serve


def _observer(fatal: Step | None, plan: Plan | None) -> Observer:
    if plan is None:
        return no_observer if fatal is None else dies_at(fatal)
    return reporting(plan.folder, obeys(plan) if fatal is None else dies_at(fatal))
