"""``python -m flaws``: a worker like ``python -m server worker``, with something wrong with it.

Without ``--flaw`` it is right; and it obeys the plan of faults that FAULT_PLAN names, if it does.
"""

import argparse
import asyncio
import os
from functools import partial
from pathlib import Path

from flaws.dies_at import dies_at
from flaws.now_and_then import Turns
from flaws.obeys import obeys
from flaws.servers import SERVERS
from flaws.tampers import Tampers
from labkit.faults.plan import ENVIRONMENT, Plan
from server import logs, process
from server.consumer import Consumer
from server.database import Database
from server.settings import Settings
from server.steps import Observer, Step, nobody


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m flaws", description=__doc__)
    parser.add_argument("--flaw", choices=SERVERS, default="none")
    parser.add_argument("--every", type=int, default=Turns.every, help="of so many, one is wrong")
    parser.add_argument("--dies-at", choices=list(Step), type=Step)
    options = parser.parse_args()
    Turns.every = options.every
    folder = os.environ.get(ENVIRONMENT)
    plan = Plan(Path(folder)) if folder else None
    observe = _observer(options.dies_at, plan)

    async def flawed(database: Database, settings: Settings, stop: asyncio.Event) -> None:
        server = SERVERS[options.flaw]
        application = server.application(database, observe)
        worker = server.worker(settings, application, observe)
        if plan is not None and worker.answers_with is Consumer:
            worker.answers_with = partial(Tampers, plan)
        await worker.run(stop)

    logs.configure()
    asyncio.run(process.serve(flawed, Settings.from_env(os.environ)))


def _observer(fatal: Step | None, plan: Plan | None) -> Observer:
    if fatal is not None:
        return dies_at(fatal)
    return nobody if plan is None else obeys(plan)


if __name__ == "__main__":
    main()
