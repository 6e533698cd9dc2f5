"""``python -m flaws --flaw NAME``: a worker like ``python -m server worker``, with that flaw.

Like a right worker of a lab it obeys the plan of faults that FAULT_PLAN names.
"""

import argparse
import os

from flaws.hunts import hunted
from flaws.now_and_then import Turns
from flaws.servers import SERVERS
from labkit.faults.at_step.worker.role import obeying
from server import lifecycle
from server.contract.steps import Step
from server.settings import Settings
from server.telemetry import Telemetry


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m flaws", description=__doc__)
    parser.add_argument("--flaw", choices=SERVERS, default="none")
    parser.add_argument("--hunt", type=int, metavar="SEED", help="one of them, or none, by a seed")
    parser.add_argument("--reveal", action="store_true", help="say which, and end")
    parser.add_argument("--every", type=int, default=Turns.every, help="of so many, one is wrong")
    parser.add_argument("--dies-at", choices=list(Step), type=Step)
    options = parser.parse_args()
    flaw = options.flaw if options.hunt is None else hunted(options.hunt)
    if options.reveal:
        print(flaw)  # noqa: T201
        return
    Turns.every = options.every
    server = SERVERS[flaw]
    settings = Settings.from_env(os.environ)
    with Telemetry("worker", settings) as telemetry:
        role = obeying(telemetry, server.dispatcher, server.worker, fatal=options.dies_at)
        lifecycle.run(role, settings)


if __name__ == "__main__":
    main()
